"""The split, and the runs that make the bundled model. README.md has what else was tried."""

from dataclasses import replace

from .train import Recipe

HELD_OUT = 1500
SPLIT_SEED = 1

_TEACHER = Recipe(
    seed=3,
    epochs=2,
    stop=1,
    rate=8e-5,
    batch=32,
    repeat=1,
    phrases=22_000,
    average=0.995,
    frozen_embeddings=True,
)
TEACHERS = {"bge": _TEACHER, "e5": replace(_TEACHER, seed=4)}

STUDENT = Recipe(
    seed=31,
    epochs=6,
    rate=1.5e-4,
    batch=32,
    smoothing=0.0,
    dropout=0.05,
    average=0.9995,
    repeat=2,
    phrases=15_000,
    made=30_000,
    distil=0.9,
    temperature=2.0,
    frozen_embeddings=True,
)
