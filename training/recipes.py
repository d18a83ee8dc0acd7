"""The split, and the runs that make the bundled model. README.md has what else was tried."""

from .train import Recipe

HELD_OUT = 1500
SPLIT_SEED = 1

TEACHER = Recipe(
    seed=1,
    epochs=2,
    stop=1,
    rate=8e-5,
    batch=32,
    repeat=1,
    phrases=22_000,
    average=0.995,
    frozen_embeddings=True,
)

# Labels first, with R-Drop, then the teacher.
RUNS = {
    "b": Recipe(
        seed=2, epochs=4, stop=1, rate=8e-5, batch=32, repeat=1, phrases=15_000, consistency=1.5
    ),
    "d": Recipe(
        seed=4, start="b", epochs=2, rate=7e-5, batch=32, repeat=1, phrases=12_000, consistency=1.5
    ),
    "s": Recipe(
        seed=5,
        start="d",
        epochs=4,
        stop=1,
        rate=1e-4,
        batch=32,
        smoothing=0.0,
        repeat=1,
        phrases=15_000,
        made=6_000,
        distil=0.7,
        frozen_embeddings=True,
    ),
    "t": Recipe(
        seed=6,
        start="s",
        epochs=2,
        rate=7e-5,
        batch=32,
        smoothing=0.0,
        repeat=1,
        phrases=3_000,
        made=3_000,
        distil=0.7,
        frozen_embeddings=True,
    ),
    "u": Recipe(
        seed=7,
        start="t",
        epochs=2,
        rate=1e-4,
        batch=32,
        smoothing=0.0,
        repeat=1,
        phrases=3_000,
        made=5_000,
        distil=0.85,
        frozen_embeddings=True,
    ),
}

# The bundled model is the mean of these runs' weights (Wortsman et al. 2022, "Model soups").
MEAN = ("s", "t", "u")
