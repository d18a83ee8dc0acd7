import pytest

from bench.reference import reference
from sentiment_k8s.model import Model

TEXTS = {"some": ["good", "bad", "a long text of many words"], "more": ["good bad"]}


def test_the_reference_is_what_the_model_says_of_each_text_alone(tiny_model: Model) -> None:
    found = reference(tiny_model, tiny_model, TEXTS)
    assert found.error == 0
    for kind, texts in TEXTS.items():
        assert len(found.right[kind]) == len(texts)
        for text, right in zip(texts, found.right[kind], strict=True):
            [logits] = tiny_model.run(tiny_model.tokenizer.encode([text]))
            least, greatest = sorted(map(float, logits))
            assert right.label == tiny_model.info.labels[int(logits.argmax())]
            assert right.margin == pytest.approx(greatest - least)
