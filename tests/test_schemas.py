import pytest
from pydantic import ValidationError

from sentiment_k8s.errors import RequestError
from sentiment_k8s.schemas import PredictRequest, parse_json


def test_of_a_million_wrong_texts_only_the_first_is_reported() -> None:
    with pytest.raises(ValidationError) as refused:
        PredictRequest.model_validate_json(b'{"texts": [' + b",".join([b"1"] * 1_000_000) + b"]}")
    assert refused.value.error_count() == 1


def test_of_many_unknown_fields_none_is_described() -> None:
    body = b"{" + b",".join(b'"%d": 1' % number for number in range(1000)) + b"}"
    with pytest.raises(RequestError, match="many fields"):
        parse_json(PredictRequest, body)
