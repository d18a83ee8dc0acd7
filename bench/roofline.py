"""What the cores allow, where the engine and servers stand, and what takes the rest:
`python -m bench.roofline --help`."""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from . import clock, engine, gemm, machine, pictures, report, texts
from .neighbours import Neighbours
from .roofline_tables import BEST, described, servers
from .scenarios import CAPACITY
from .work import Shape

if TYPE_CHECKING:
    from sentiment_k8s.hub import ModelFiles
    from sentiment_k8s.model import Model

BYTES_A_WEIGHT = {"fp32": 4, "int8": 1}
BATCH_TOKENS = (27, 128, 512)
PROFILED_ALONE = 200  # texts at batch 1: ONNX Runtime's profile has an event a node


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a batch multiplies, and what it has to read for that.

    Args:
        tokens: of the batch.
        multiply_adds: as `work.Shape` counts them.
        weight_bytes: of the linear layers, read once a batch.
        activation_bytes: that operators read and write between them, when each reads its inputs
            and writes its outputs once; in a cache, if they fit.
    """

    tokens: int
    multiply_adds: float
    weight_bytes: int
    activation_bytes: int

    @property
    def intensity(self) -> float:
        """Multiply-adds a byte of weights: what memory has to deliver at least."""
        return self.multiply_adds / self.weight_bytes

    @property
    def cache_intensity(self) -> float:
        """Multiply-adds a byte of weights and activations: what the caches have to deliver."""
        return self.multiply_adds / (self.weight_bytes + self.activation_bytes)


def traffic(shape: Shape, precision: str, tokens: int, mean_length: float) -> Traffic:
    """Of a batch of so many tokens, in texts of a mean length.

    In units of a token's hidden state, a layer's operators move 18 and 4 of the intermediate one:
    QKV 1 + 3, attention 3 + 1, its output 1 + 1, the sum and LayerNorm 2 + 1 (twice), the two of
    the feed-forward network 1 + i and i + 1, GELU i + i. All in float32, also between int8
    products.
    """
    a_layer = 18 * shape.hidden + 4 * shape.intermediate
    attention = 2 * shape.layers * shape.hidden * mean_length
    return Traffic(
        tokens=tokens,
        multiply_adds=tokens * (shape.a_token + attention),
        weight_bytes=shape.a_token * BYTES_A_WEIGHT[precision],
        activation_bytes=tokens * shape.layers * a_layer * 4,
    )


def products(shape: Shape, tokens: int) -> list[gemm.Factors]:
    """A layer's linear products over so many tokens."""
    return [
        (tokens, shape.hidden, 3 * shape.hidden),
        (tokens, shape.hidden, shape.hidden),
        (tokens, shape.hidden, shape.intermediate),
        (tokens, shape.intermediate, shape.hidden),
    ]


def main() -> None:
    """Measure and print."""
    options = _options()
    result = json.loads(options.measured.read_text()) if options.measured else _pinned(options)
    if options.compare:
        compared = json.loads(options.compare.read_text())
        result["servers"] = servers(compared, result)
        result["servers_under"] = compared["scenarios"][CAPACITY]
    print(described(result))
    report.save(options.json, result)
    if options.plot:
        pictures.draw(result, options.plot)


def _pinned(options: argparse.Namespace) -> dict[str, Any]:
    gemm.honest_openblas(len(options.cores))  # before numpy is imported
    os.sched_setaffinity(0, options.cores)
    return measure(options)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Peaks, bandwidths and the engine in rounds, then the engine's profile."""
    from sentiment_k8s.hub import find_model
    from sentiment_k8s.model import Model

    threads = len(options.cores)
    stolen, neighbours = machine.StolenTime(options.cores), Neighbours(options.cores)
    sentences = texts.dev_sentences(options.sst2 or texts.sst2_folder(), options.texts)
    files = {name: find_model(folder) for name, folder in engine.folders(options).items()}
    models = {name: Model(each, threads, options.engine) for name, each in files.items()}
    [shape] = {engine.shape_in(each) for each in files.values()}
    tokens = next(iter(models.values())).tokenizer.encode(sentences)
    lengths = [len(one) for one in tokens]
    ways = {"batch 1": [[one] for one in tokens], BEST: engine.batches(tokens, 512)}
    rounds = [_round(shape, models, ways, threads) for _ in range(options.rounds)]
    mean_length = fmean(lengths)
    return {
        "what": "roofline",
        "machine": machine.facts(),
        "described": machine.described(),
        "cores": options.cores,
        "hertz": clock.hertz(),
        "mean_tokens": mean_length,
        "multiply_adds_a_token": shape.a_token,
        "multiply_adds_a_text": shape.mean(lengths),
        "least_multiply_adds_a_text": shape.mean_least(lengths),
        "traffic": {
            precision: [
                _with_intensities(traffic(shape, precision, count, mean_length))
                for count in BATCH_TOKENS
            ]
            for precision in BYTES_A_WEIGHT
        },
        "rounds": rounds,
        "ways": [
            {
                "engine": models[precision].engine.name,
                "precision": precision,
                "batching": batching,
                "tokens_a_batch": fmean(sum(map(len, batch)) for batch in batches),
                "padding": engine.padding(models[precision], batches),
                "texts_a_second": [each["engine"][precision][batching] for each in rounds],
                "profile": _profile(files[precision], models[precision], threads, batches),
            }
            for precision in models
            for batching, batches in ways.items()
        ],
        "servers": [],
        "stolen_share": stolen.share(),
        "neighbours_share": neighbours.share(),
    }


def _round(
    shape: Shape, models: Mapping[str, Any], ways: Mapping[str, Any], threads: int
) -> dict[str, Any]:
    from . import bandwidth

    sets = bandwidth.levels(threads)
    sets |= {
        f"{precision} weights": shape.a_token * size for precision, size in BYTES_A_WEIGHT.items()
    }
    return {
        "peaks": list(map(asdict, gemm.peaks(threads))),
        "own_products": {
            precision: {
                str(count): gemm.rate_at(precision, products(shape, count), threads)
                for count in BATCH_TOKENS
            }
            for precision in gemm.PRECISIONS
        },
        "bandwidths": [
            asdict(bandwidth.measure(where, size, threads)) for where, size in sets.items()
        ],
        "engine": {
            precision: {name: engine.rate(model, batches) for name, batches in ways.items()}
            for precision, model in models.items()
        },
    }


def _profile(
    files: "ModelFiles", model: "Model", threads: int, batches: Sequence[Sequence[Any]]
) -> dict[str, Any]:
    """Of the engine that the model has; without parts, and why, where that cannot be had."""
    from . import operators, sampling

    if model.engine.name.startswith("encoder-"):
        try:
            found = sampling.profile(model, engine.shape_in(files), batches)
        except sampling.CannotSample as error:
            return {"parts": [], "left_out": str(error)}
    else:
        if len(batches[0]) == 1:
            batches = batches[:PROFILED_ALONE]
        found = operators.profile(files, threads, batches)
    return asdict(found) | {"texts": sum(map(len, batches))}


def _with_intensities(one: Traffic) -> dict[str, float]:
    return asdict(one) | {"intensity": one.intensity, "cache_intensity": one.cache_intensity}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.roofline", description=__doc__)
    engine.add_options(parser)
    parser.set_defaults(rounds=3)
    parser.add_argument("--compare", type=Path, metavar="JSON", help="of `python -m bench.compare`")
    parser.add_argument(
        "--measured", type=Path, metavar="JSON", help="of an earlier run, to compare it with more"
    )
    parser.add_argument("--plot", type=Path, metavar="PATH", help=".svg or .png")
    return parser.parse_args()


if __name__ == "__main__":
    main()
