"""The texts: SST-2's dev sentences, always in the same shuffled order."""

import os
import random
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentiment_k8s.tokenizer import Tokenizer

CANDIDATES = ("training/reference", "../shared/data/sst2")


def sst2_folder() -> Path:
    """Where `dev.tsv` is: $SST2, else the places where this repository's commands keep it."""
    places = [os.environ["SST2"]] if os.environ.get("SST2") else list(CANDIDATES)
    for place in places:
        if Path(place, "dev.tsv").is_file():
            return Path(place)
    raise SystemExit(
        f"There is no dev.tsv in {' or '.join(places)}: say where GLUE's SST-2 folder is by --sst2."
    )


def dev_sentences(folder: Path, count: int | None = None) -> list[str]:
    """Sentences of `dev.tsv` in a fixed random order, which no file's order can favour.

    Args:
        folder: GLUE's SST-2 folder.
        count: how many, all if None.
    """
    lines = (folder / "dev.tsv").read_text(encoding="utf-8").splitlines()[1:]
    sentences = [line.split("\t")[0].strip() for line in lines]
    random.Random(2).shuffle(sentences)
    return sentences[:count]


# Tokens a text of the long tail: most are short, and one in a hundred is ten times as long.
SHORTEST, LONGEST = 5, 400
MEDIAN_TOKENS, SPREAD = 28, 0.9
SPECIAL_TOKENS = 2  # [CLS] and [SEP]


def long_tail(count: int) -> list[int]:
    """Numbers of tokens, log-normal, in a fixed random order."""
    random_numbers = random.Random(5)
    drawn = (MEDIAN_TOKENS * random_numbers.lognormvariate(0, SPREAD) for _ in range(count))
    return [min(LONGEST, max(SHORTEST, round(tokens))) for tokens in drawn]


def composed(sentences: Sequence[str], lengths: Sequence[int], tokenizer: "Tokenizer") -> list[str]:
    """Texts of so many tokens each, special ones included, from the words of sentences in their
    order, over and over.

    Args:
        tokenizer: one that splits at blanks first (BERT's), so that the tokens of a text are those
            of its words.
    """
    words = list(dict.fromkeys(" ".join(sentences).split()))
    sizes = {
        word: len(tokens) - SPECIAL_TOKENS
        for word, tokens in zip(words, tokenizer.encode(words), strict=True)
    }
    stream = chain.from_iterable(map(str.split, _endless(sentences)))
    return [" ".join(_words(stream, sizes, tokens - SPECIAL_TOKENS)) for tokens in lengths]


def _words(stream: Iterator[str], sizes: dict[str, int], tokens: int) -> Iterator[str]:
    """The next words of just so many tokens; those that are too large for the end are skipped."""
    while tokens:
        word = next(stream)
        if sizes[word] <= tokens:
            tokens -= sizes[word]
            yield word


def _endless(sentences: Sequence[str]) -> Iterator[str]:
    while True:
        yield from sentences
