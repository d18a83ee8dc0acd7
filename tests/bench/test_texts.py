from pathlib import Path
from statistics import median

from bench import texts
from bench.scenarios import LONG_TOKENS, texts_of
from sentiment_k8s.model import Model

DEV = Path(__file__).parents[2] / "training" / "reference"


def test_the_long_tail_is_one() -> None:
    lengths = texts.long_tail(1024)
    assert (min(lengths), max(lengths)) == (texts.SHORTEST, texts.LONGEST)
    assert 25 < median(lengths) < 31
    assert sum(length > 200 for length in lengths) > 10
    assert lengths == texts.long_tail(1024)


def test_texts_have_the_tokens_that_they_should_have(bundled_model: Model) -> None:
    sentences = texts.dev_sentences(DEV)
    found = texts_of(sentences, bundled_model.tokenizer)
    lengths = {
        kind: list(map(len, bundled_model.tokenizer.encode(each))) for kind, each in found.items()
    }
    assert found["sst2"] == sentences
    assert lengths["tail"] == texts.long_tail(len(lengths["tail"]))
    assert set(lengths["long"]) == {LONG_TOKENS}
    assert len(set(found["tail"])) > 1000
    assert len(set(found["long"])) == len(found["long"])
