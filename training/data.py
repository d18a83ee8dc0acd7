"""SST-2 as GLUE gives it, split by whole sentences.

The training file is phrases cut from sentences, so rows held out at random stand inside training
rows. Here the *whole sentences* (rows that no longer row contains) are found, some are held out
for every choice and for calibration, and each phrase of three or more words that stands inside a
held-out sentence is dropped from training.
"""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

WHERE_TO_GET = (
    "SST-2 is not at {folder}: get https://dl.fbaipublicfiles.com/glue/data/SST-2.zip, unpack it, "
    "and pass the folder that holds train.tsv and dev.tsv (make model SST2=FOLDER)"
)

REPLACED = range(3, 13)  # words of a phrase that `recombined` replaces

Words = tuple[str, ...]


class DataError(Exception):
    """The data folder is not what the training needs; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Example:
    """A text and its label, 0 negative or 1 positive.

    `margin` is how much the teachers prefer positive: the mean difference of their logits.
    """

    text: str
    label: int
    margin: float | None = None

    @property
    def words(self) -> Words:
        """The text's words, as SST-2 separates them."""
        return tuple(self.text.split())


@dataclass(frozen=True, slots=True)
class Split:
    """What is trained on (whole sentences, phrases, sentences made of both) and what is kept apart.

    `made` is empty until teachers have labelled it.
    """

    sentences: list[Example]
    phrases: list[Example]
    held_out: list[Example]
    made: list[Example] = field(default_factory=list)


def read(folder: Path, name: str) -> list[Example]:
    """Read `name` ("train" or "dev") of a GLUE folder; DataError says where to get it."""
    path = folder / f"{name}.tsv"
    if not path.is_file():
        raise DataError(WHERE_TO_GET.format(folder=folder))
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Example(row["sentence"].strip(), int(row["label"])) for row in rows]


def deduplicated(examples: Iterable[Example]) -> list[Example]:
    """One example a text, in first-seen order; a text seen with both labels is dropped."""
    labels: dict[str, set[int]] = defaultdict(set)
    for example in examples:
        labels[example.text].add(example.label)
    return [Example(text, *found) for text, found in labels.items() if len(found) == 1]


def ngrams(words: Words, sizes: Iterable[int]) -> set[Words]:
    """Every run of `size` words in `words`, for each of `sizes`."""
    return {words[at : at + size] for size in sizes for at in range(len(words) - size + 1)}


def whole_sentences(examples: Sequence[Example], *, shortest: int = 5) -> list[Example]:
    """The maximal rows: `shortest` words or more, and not contained in a longer row.

    Rows are visited from the longest; every run of words of a row already kept is known, so a
    row is maximal when it is not among them.
    """
    lengths = {len(example.words) for example in examples}
    inside: set[Words] = set()
    maximal = []
    for example in sorted(examples, key=lambda e: len(e.words), reverse=True):
        if len(example.words) < shortest:
            break
        if example.words not in inside:
            maximal.append(example)
            inside |= ngrams(example.words, (n for n in lengths if n <= len(example.words)))
    return maximal


def split(examples: Iterable[Example], *, held_out: int, seed: int) -> Split:
    """Keep `held_out` whole sentences apart, and everything of three words or more in them."""
    examples = deduplicated(examples)
    sentences = whole_sentences(examples)
    random.Random(seed).shuffle(sentences)
    apart, kept = sentences[:held_out], sentences[held_out:]
    lengths = {len(example.words) for example in examples if len(example.words) >= 3}
    forbidden = set().union(*(ngrams(example.words, lengths) for example in apart))
    whole = {example.text for example in sentences}
    phrases = [e for e in examples if e.text not in whole and e.words not in forbidden]
    return Split(kept, phrases, apart)


def recombined(split: Split, *, each: int, seed: int) -> list[str]:
    """New sentences: `each` for a training sentence, one of its phrases replaced by another.

    The other phrase has the same number of words. What such a sentence means is for a teacher to
    say; most are English enough to be worth asking.
    """
    rng = random.Random(seed)
    known = {phrase.words for phrase in split.phrases}
    by_length: dict[int, list[Words]] = defaultdict(list)
    for phrase in split.phrases:
        by_length[len(phrase.words)].append(phrase.words)
    made = []
    for sentence in split.sentences:
        words = sentence.words
        spans = [
            (at, at + size)
            for size in REPLACED
            for at in range(len(words) - size + 1)
            if words[at : at + size] in known
        ]
        for _ in range(each if spans else 0):
            first, last = rng.choice(spans)
            other = rng.choice(by_length[last - first])
            made.append(" ".join((*words[:first], *other, *words[last:])))
    return made


def epoch(split: Split, *, repeat: int, phrases: int, made: int, seed: int) -> list[Example]:
    """One pass: every sentence `repeat` times, `phrases` and `made` of the others at random."""
    rng = random.Random(seed)
    drawn = rng.sample(split.phrases, min(phrases, len(split.phrases)))
    return split.sentences * repeat + drawn + rng.sample(split.made, min(made, len(split.made)))


def natural(text: str) -> str:
    """`text` as people write it: SST-2 parts "do n't" and writes quotes as `` and ''.

    The encoder's tokenizer parts other punctuation itself, so only these change its tokens.
    """
    for parted, written in ((" n't", "n't"), ("`` ", '"'), (" ''", '"'), ("` ", "'"), ("``", '"')):
        text = text.replace(parted, written)
    return text
