"""The runs that the bundled model is made from, in order.

One epoch of the encoder and two branches from there, with and without R-Drop, so that the soup has
models that differ. README.md has what else was tried.
"""

from .train import Recipe

RUNS = {
    "b": Recipe(
        seed=2, epochs=4, stop=1, rate=8e-5, batch=32, repeat=1, phrases=15_000, consistency=1.5
    ),
    "c": Recipe(seed=3, start="b", epochs=3, stop=2, rate=7e-5, batch=32, repeat=1, phrases=22_000),
    "d": Recipe(
        seed=4, start="b", epochs=2, rate=7e-5, batch=32, repeat=1, phrases=12_000, consistency=1.5
    ),
}
