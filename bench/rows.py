"""Rows of the log as months of traffic leave them, the same ones at every run."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from sentiment_k8s.records import EPOCH, PredictionRow

RARE_LABEL = "NEUTRAL"  # one row in 100,000
RARE_WORD = "xylophagous"  # one text in 100,000
# Sentences in a text, and how many of a hundred texts have as many: 20 to 1,000 words.
LENGTHS = [(1, 70), (2, 15), (4, 10), (12, 4), (50, 1)]
PEOPLE = 500_000


def sentences(folder: Path) -> list[str]:
    """SST-2's sentences: of `train.tsv`, which has 67,000 phrases, where there is one."""
    files = [folder / name for name in ("train.tsv", "dev.tsv")]
    lines = [line for file in files if file.is_file() for line in _lines(file)]
    return [line.split("\t")[0].strip() for line in lines]


def rows(
    count: int, begin: datetime, end: datetime, model: str, corpus: list[str]
) -> Iterator[PredictionRow]:
    """Rows in the order of time, from `begin` to `end`.

    Args:
        count: how many.
        begin: time of the first one, with a time zone.
        end: time after the last one.
        model: of all of them.
        corpus: sentences that texts are made of.
    """
    chance = random.Random(model)
    step = (end - begin) / count
    lengths, weights = zip(*LENGTHS, strict=True)
    for number in range(count):
        length = chance.choices(lengths, weights)[0]
        text = " ".join(chance.choices(corpus, k=length))
        yield _row(chance, begin + number * step, model, text)


def _row(chance: random.Random, at: datetime, model: str, text: str) -> PredictionRow:
    milliseconds = (at - EPOCH) // timedelta(milliseconds=1)
    identity = milliseconds << 80 | 0x7 << 76 | 0b10 << 62
    identity |= chance.getrandbits(12) << 64 | chance.getrandbits(62)
    if chance.random() < 0.05:  # numbers, names: words that hardly any other text has
        text += f" , order {chance.randrange(10**8)}"
    if chance.random() < 1e-5:
        text += f" , {RARE_WORD}"
    label = chance.choice(("POSITIVE", "NEGATIVE"))
    score = 1 - chance.random() ** 6 / 2  # most are sure; one in fifty is between 0.5 and 0.55
    if chance.random() < 1e-5:
        label = RARE_LABEL
    return PredictionRow(
        id=UUID(int=identity),
        created_at=EPOCH + timedelta(milliseconds=milliseconds),
        text=text,
        prediction=label,
        score=score,
        scores={label: score, "other": 1 - score},
        model=model,
        revision="0123456789abcdef0123456789abcdef01234567",
        precision="int8",
        engine="onnxruntime",
        tokens=len(text) // 4,
        truncated=len(text) > 2048,
        queue_seconds=chance.random() / 100,
        inference_seconds=chance.random() / 10,
        request_id=f"{chance.getrandbits(128):032x}",
        subject=f"person-{chance.randrange(PEOPLE)}" if chance.random() < 0.3 else None,
    )


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()[1:]
