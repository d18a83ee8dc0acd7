"""The texts: SST-2's dev sentences, always in the same shuffled order."""

import os
import random
from pathlib import Path

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
