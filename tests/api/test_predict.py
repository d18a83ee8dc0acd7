from collections.abc import Iterator

import httpx
import pytest

from sentiment_k8s.schemas import Answer, ErrorBody

from ..serving import RunningServer


@pytest.fixture(params=[{}, {"Connection": "close"}], ids=["directly", "the usual way"])
def client(server: RunningServer, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """Its requests are answered without a framework in between, or with one."""
    with httpx.Client(base_url=server.url, timeout=30, headers=request.param) as client:
        yield client


def refused(response: httpx.Response, status: int) -> str:
    """Check the one error shape and return its sentence."""
    assert response.status_code == status, response.text
    return ErrorBody.model_validate_json(response.content).error


def test_the_books_call_answers_text_prediction_and_score(client: httpx.Client) -> None:
    answer = client.get("/predict", params={"text": "I love AI!"}).json()
    assert answer["text"] == "I love AI!"
    assert answer["prediction"] == "POSITIVE"
    assert 0.5 < answer["score"] <= 1


def test_the_answer_is_what_the_schema_documents(client: httpx.Client) -> None:
    response = client.get("/predict", params={"text": "I love AI!", "top_k": 2})
    answer = Answer.model_validate_json(response.content)
    assert answer.scores is not None
    assert [score.label for score in answer.scores] == ["POSITIVE", "NEGATIVE"]
    assert sum(score.score for score in answer.scores) == pytest.approx(1, abs=1e-5)


def test_one_text_is_posted(client: httpx.Client) -> None:
    answer = client.post("/predict", json={"text": "a waste of time"}).json()
    assert answer["prediction"] == "NEGATIVE"


def test_several_texts_answer_in_their_order(client: httpx.Client) -> None:
    texts = ["great fun", "awful", "a long and winding but delightful road", "dull"]
    answers = client.post("/predict", json={"texts": texts}).json()["predictions"]
    assert [answer["text"] for answer in answers] == texts
    assert [answer["prediction"] for answer in answers] == [
        "POSITIVE",
        "NEGATIVE",
        "POSITIVE",
        "NEGATIVE",
    ]


def test_scores_are_answered_only_when_asked_for(client: httpx.Client) -> None:
    assert "scores" not in client.get("/predict", params={"text": "fine"}).json()
    one = client.get("/predict", params={"text": "fine", "top_k": 1}).json()
    assert len(one["scores"]) == 1


def test_every_answer_is_a_row_of_the_log(client: httpx.Client) -> None:
    answer = client.post("/predict", json={"text": "recorded", "subject": "person-7"}).json()
    row = client.get(f"/predictions/{answer['id']}").json()
    assert row["text"] == "recorded"
    assert row["prediction"] == answer["prediction"]
    assert row["score"] == pytest.approx(answer["score"], abs=1e-6)
    assert row["created_at"] == answer["created_at"]
    assert row["subject"] == "person-7"
    assert row["precision"] == "int8"


def test_a_row_says_the_engine_that_health_names(client: httpx.Client) -> None:
    answer = client.post("/predict", json={"text": "by which engine"}).json()
    row = client.get(f"/predictions/{answer['id']}").json()
    assert row["engine"] == client.get("/health").json()["model"]["engine"]
    assert "engine" not in answer


def test_the_request_id_is_the_callers_if_it_is_sane(client: httpx.Client) -> None:
    sane = client.get("/health", headers={"X-Request-ID": "order-4711"})
    assert sane.headers["X-Request-ID"] == "order-4711"
    mad = client.get("/health", headers={"X-Request-ID": "a b" * 99})
    assert mad.headers["X-Request-ID"].isalnum()


@pytest.mark.parametrize("text", ["", " ", "\n\t  \u2003"])
def test_a_blank_text_is_refused(client: httpx.Client, text: str) -> None:
    assert "blank" in refused(client.get("/predict", params={"text": text}), 400)
    assert "blank" in refused(client.post("/predict", json={"text": text}), 400)


def test_no_text_is_refused_with_what_to_send(client: httpx.Client) -> None:
    assert "text is missing" in refused(client.get("/predict"), 400)
    assert '"text" or "texts"' in refused(client.post("/predict", json={}), 400)
    assert "no text" in refused(client.post("/predict", json={"texts": []}), 400)


def test_text_and_texts_together_are_refused(client: httpx.Client) -> None:
    both = {"text": "a", "texts": ["b"]}
    assert '"text" or "texts"' in refused(client.post("/predict", json=both), 400)


def test_a_megabyte_of_text_is_truncated_and_says_so(client: httpx.Client) -> None:
    answer = client.post("/predict", json={"text": "good " * 200_000}).json()
    assert answer["truncated"] is True
    assert answer["prediction"] == "POSITIVE"


def test_a_text_that_may_not_be_truncated_is_too_large(client: httpx.Client) -> None:
    body = {"texts": ["short", "good " * 600], "truncate": False}
    assert "Text 2" in refused(client.post("/predict", json=body), 413)


def test_a_hundred_thousand_texts_are_too_many(client: httpx.Client) -> None:
    body = {"texts": ["a"] * 100_000}
    assert "256 are allowed" in refused(client.post("/predict", json=body), 413)


def test_a_body_over_two_mebibytes_is_too_large(client: httpx.Client) -> None:
    assert "2097152 bytes" in refused(client.post("/predict", json={"text": "a" * 2**21}), 413)


def test_a_chunked_body_is_bounded_too(client: httpx.Client) -> None:
    chunks = (b"a" * 65_536 for _ in range(64))
    assert "2097152 bytes" in refused(client.post("/predict", content=chunks), 413)


def test_invalid_utf8_is_refused(client: httpx.Client) -> None:
    assert "not JSON" in refused(client.post("/predict", content=b'{"text": "\xff\xfe"}'), 400)
    assert "not UTF-8" in refused(client.get("/predict?text=%FF%FE"), 400)


def test_nul_is_refused_because_the_log_cannot_store_it(client: httpx.Client) -> None:
    assert "NUL" in refused(client.post("/predict", json={"text": "a\0b"}), 400)
    assert "NUL" in refused(client.get("/predict?text=a%00b"), 400)


def test_nul_in_a_subject_is_refused_before_it_reaches_the_log(client: httpx.Client) -> None:
    assert "subject" in refused(client.post("/predict", json={"text": "a", "subject": "\0"}), 400)


def test_half_a_surrogate_pair_is_refused(client: httpx.Client) -> None:
    refused(client.post("/predict", content=rb'{"text": "a\ud800b"}'), 400)


@pytest.mark.parametrize("body", ["[]", '"text"', "7", "null", "[{}]"])
def test_json_that_is_not_an_object_is_refused(client: httpx.Client, body: str) -> None:
    assert "not a JSON object" in refused(client.post("/predict", content=body), 400)


@pytest.mark.parametrize("body", ["", "{", '{"text": }', "text=hello"])
def test_a_body_that_is_not_json_is_refused(client: httpx.Client, body: str) -> None:
    assert "not JSON" in refused(client.post("/predict", content=body), 400)


@pytest.mark.parametrize(
    "body",
    [
        {"text": 7},
        {"text": None},
        {"text": ["a"]},
        {"texts": "a"},
        {"texts": ["a", 7]},
        {"texts": {"a": 1}},
        {"text": "a", "top_k": "2"},
        {"text": "a", "top_k": 0},
        {"text": "a", "top_k": 1e99},
        {"text": "a", "truncate": "no"},
        {"text": "a", "subject": "x" * 257},
        {"text": "a", "subject": 7},
    ],
)
def test_wrong_types_are_refused(client: httpx.Client, body: dict[str, object]) -> None:
    refused(client.post("/predict", json=body), 400)


def test_an_unknown_field_is_refused_by_name(client: httpx.Client) -> None:
    assert "'txt'" in refused(client.post("/predict", json={"text": "a", "txt": "b"}), 400)
    assert "'txt'" in refused(client.get("/predict", params={"text": "a", "txt": "b"}), 400)


def test_a_parameter_sent_twice_is_refused(client: httpx.Client) -> None:
    assert "more than once" in refused(client.get("/predict?text=a&text=b"), 400)


@pytest.mark.parametrize(
    "text",
    [
        "I ❤️ it 😀👩‍👩‍👧‍👦",
        "أحب هذا الفيلم",
        "我喜欢这部电影",
        "Z̸a̷l̶g̵o̴",
        "'; DROP TABLE predictions; --",
    ],
)
def test_any_script_comes_back_as_it_was_sent(client: httpx.Client, text: str) -> None:
    answer = client.get("/predict", params={"text": text}).json()
    assert answer["text"] == text
    assert client.get(f"/predictions/{answer['id']}").json()["text"] == text


def test_an_unknown_route_and_a_wrong_method_have_the_one_error_shape(
    client: httpx.Client,
) -> None:
    refused(client.get("/nowhere"), 404)
    refused(client.get("/predict/", params={"text": "not redirected"}), 404)
    assert "DELETE" in refused(client.delete("/predict"), 405)
    assert client.delete("/predict").headers["X-Request-ID"]


def test_an_error_does_not_repeat_the_text(client: httpx.Client) -> None:
    response = client.post("/predict", json={"text": "my secret", "top_k": "my secret"})
    assert "secret" not in refused(response, 400)
