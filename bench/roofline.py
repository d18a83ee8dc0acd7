"""What the cores allow, where the engine and servers stand, and what takes the rest:
`python -m bench.roofline --help`."""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from . import clock, gemm, machine, pictures, report, shapes, texts
from .neighbours import Neighbours
from .scenarios import CAPACITY
from .work import Shape, shape_of

if TYPE_CHECKING:
    from sentiment_k8s.hub import ModelFiles

BYTES_A_WEIGHT = {"fp32": 4, "int8": 1}
BATCH_TOKENS = (27, 128, 512)
BEST = "budget 512"
PROFILED_ALONE = 200  # texts at batch 1: a profile has an event a node


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


def roof(peak: float, bandwidth: float, intensity: float) -> float:
    """Multiply-adds a second that a roofline allows (Williams, Waterman and Patterson, 2009).

    Args:
        peak: multiply-adds a second.
        bandwidth: bytes a second.
        intensity: multiply-adds a byte.
    """
    return min(peak, bandwidth * intensity)


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

    from . import engine

    threads = len(options.cores)
    stolen, neighbours = machine.StolenTime(options.cores), Neighbours(options.cores)
    sentences = texts.dev_sentences(options.sst2 or texts.sst2_folder(), options.texts)
    files = {name: find_model(folder) for name, folder in _folders(options).items()}
    models = {name: Model(each, threads) for name, each in files.items()}
    if not models:
        raise SystemExit("Say what to measure: --fp32 DIR, --int8 DIR or --shape NAME.")
    [shape] = {shape_in(each) for each in files.values()}
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
                "precision": precision,
                "batching": batching,
                "tokens_a_batch": fmean(sum(map(len, batch)) for batch in batches),
                "padding": engine.padding(batches),
                "texts_a_second": [each["engine"][precision][batching] for each in rounds],
                "profile": _profile(files[precision], threads, batches),
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
    from . import bandwidth, engine

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


def _profile(files: "ModelFiles", threads: int, batches: Sequence[Sequence[Any]]) -> dict[str, Any]:
    from . import operators

    some = batches[:PROFILED_ALONE] if len(batches[0]) == 1 else batches
    found = operators.profile(files, threads, some)
    return asdict(found) | {"texts": sum(map(len, some))}


def _with_intensities(one: Traffic) -> dict[str, float]:
    return asdict(one) | {"intensity": one.intensity, "cache_intensity": one.cache_intensity}


def peak_of(result: Mapping[str, Any], precision: str) -> float:
    """The greatest of a precision's peaks, each the median of its rounds."""
    return max(_peaks(result, precision).values())


def bandwidth_of(result: Mapping[str, Any], where: str, how: str = "read") -> float:
    """Bytes a second, the median of the rounds."""
    bandwidths = (one for each in result["rounds"] for one in each["bandwidths"])
    return float(median(one[how] for one in bandwidths if one["where"] == where))


def _peaks(result: Mapping[str, Any], precision: str) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for each in result["rounds"]:
        for one in each["peaks"]:
            if one["precision"] == precision:
                found.setdefault(one["by"], []).append(one["multiply_adds_a_second"])
    return {by: median(rates) for by, rates in found.items()}


def described(result: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    hertz = result["hertz"]
    clocked = f"{hertz / 1e9:.2f} GHz by a chain of multiplications" if hertz else "unknown"
    return "\n".join(
        [
            f"Machine: {result['described']}; stolen {result['stolen_share']:.1%}, other "
            f"processes {result['neighbours_share']:.1%} of the cores.",
            f"Cores {result['cores']}, clock {clocked}; medians of {len(result['rounds'])} rounds.",
            "",
            report.table(_peak_rows(result)),
            "",
            report.table(_bandwidth_rows(result)),
            "",
            f"{result['multiply_adds_a_token'] / 1e6:.2f} M multiply-adds a token in linear "
            f"layers, {result['multiply_adds_a_text'] / 1e6:.1f} M a text of "
            f"{result['mean_tokens']:.1f} tokens on average. (A head that reads one token needs "
            f"{result['least_multiply_adds_a_text'] / 1e6:.1f} M.)",
            "",
            report.table(_traffic_rows(result)),
            "",
            report.table(_engine_rows(result)),
            "",
            "What takes the rest:",
            "",
            report.table(_rest_rows(result)),
            "",
            *_profiler_lines(result),
            *_server_lines(result),
        ]
    )


def _peak_rows(result: Mapping[str, Any]) -> list[dict[str, object]]:
    flags, threads = result["machine"]["flags"], len(result["cores"])
    rows: list[dict[str, object]] = []
    for precision in gemm.PRECISIONS:
        most = clock.multiply_adds_a_cycle(precision, flags)
        ceiling = result["hertz"] and most and result["hertz"] * most * threads
        for by, rate in _peaks(result, precision).items():
            is_peak = rate == peak_of(result, precision)
            rows.append(
                {
                    "precision": precision,
                    "by": by + (", the peak" if is_peak else ""),
                    "G multiply-adds/s": rate / 1e9,
                    "a cycle and core": f"{rate / result['hertz'] / threads:.1f} of {most or '?'}"
                    if result["hertz"]
                    else "unknown",
                    "of what flags and clock allow": f"{rate / ceiling:.2f}"
                    if ceiling
                    else "unknown",
                }
            )
    return rows


def _bandwidth_rows(result: Mapping[str, Any]) -> list[dict[str, object]]:
    return [
        {
            "array in": one["where"],
            "MiB": one["working_set"] / 2**20,
            **{
                f"{how} GB/s": bandwidth_of(result, one["where"], how) / 1e9
                for how in ("read", "copy", "triad")
            },
        }
        for one in result["rounds"][0]["bandwidths"]
    ]


def _traffic_rows(result: Mapping[str, Any]) -> list[dict[str, object]]:
    memory, cache = bandwidth_of(result, "memory"), _cache_bandwidth(result)
    rows: list[dict[str, object]] = []
    for precision, several in result["traffic"].items():
        peak = peak_of(result, precision)
        for one in several:
            allowed = roof(peak, memory, one["intensity"])
            cached = roof(peak, cache, one["cache_intensity"])
            own = median(
                each["own_products"][precision][str(one["tokens"])] for each in result["rounds"]
            )
            rows.append(
                {
                    "precision": precision,
                    "tokens a batch": one["tokens"],
                    "weights MB": one["weight_bytes"] / 1e6,
                    "activations MB": one["activation_bytes"] / 1e6,
                    "multiply-adds a byte of weights": one["intensity"],
                    "with activations": one["cache_intensity"],
                    "roof from memory G/s": allowed / 1e9,
                    "roof from the cache G/s": cached / 1e9,
                    "its own products alone G/s": own / 1e9,
                }
            )
    return rows


def _cache_bandwidth(result: Mapping[str, Any]) -> float:
    """Of the last level, read and written as activations are; of memory where no cache is known."""
    names = [one["where"] for one in result["rounds"][0]["bandwidths"]]
    last = max((name for name in names if name.endswith("cache")), default="memory")
    return bandwidth_of(result, last, "copy")


def _engine_rows(result: Mapping[str, Any]) -> list[dict[str, object]]:
    needed = result["multiply_adds_a_text"]
    rows = []
    for way in result["ways"]:
        rates = way["texts_a_second"]
        rows.append(
            {
                "engine": f"{way['precision']}, {way['batching']}",
                "tokens a batch": way["tokens_a_batch"],
                "padding": f"{way['padding']:.1%}",
                "texts/s": report.spread(rates, 1),
                "G multiply-adds/s": median(rates) * needed / 1e9,
                "of its precision's peak": _share(rates, needed, result, way["precision"]),
                "of the fp32 peak": _share(rates, needed, result, "fp32"),
            }
        )
    return rows


def _share(rates: list[float], needed: float, result: Mapping[str, Any], precision: str) -> str:
    """Of the same round's peak."""
    peaks = [
        max(one["multiply_adds_a_second"] for one in each["peaks"] if one["precision"] == precision)
        for each in result["rounds"]
    ]
    return report.spread([r * needed / peak for r, peak in zip(rates, peaks, strict=True)])


def _rest_rows(result: Mapping[str, Any]) -> list[dict[str, object]]:
    """Milliseconds a text by kind of work, and how much of each the peak would need."""
    rows = []
    for way in result["ways"]:
        peak, profile = peak_of(result, way["precision"]), way["profile"]
        for part in profile["parts"]:
            took = 1e3 * part["seconds"] / profile["texts"]
            adds = part["multiply_adds"]
            rows.append(
                {
                    "engine": f"{way['precision']}, {way['batching']}",
                    "work": part["kind"],
                    "ms a text": f"{took:.3f}",
                    "share": f"{part['seconds'] / profile['seconds']:.1%}",
                    "of it at the peak": f"{adds / peak / part['seconds']:.2f}" if adds else "",
                    "G multiply-adds/s": f"{adds / part['seconds'] / 1e9:.0f}" if adds else "",
                }
            )
    return rows


def _profiler_lines(result: Mapping[str, Any]) -> list[str]:
    return [
        f"- {way['precision']}, {way['batching']}: the profiler made it "
        f"{_slowdown(way):.0%} slower, most of it beside small operators."
        for way in result["ways"]
    ]


def _slowdown(way: Mapping[str, Any]) -> float:
    profile = way["profile"]
    return float(median(way["texts_a_second"]) * profile["seconds"] / profile["texts"] - 1)


def servers(compared: Mapping[str, Any], result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where the servers of a comparison stand with 64 clients, on these same texts.

    Args:
        compared: what `bench.compare` has left.
        result: of `measure`.

    Returns:
        For each server that answered: its precision, texts a second, the share of its precision's
        peak, and CPU time a text in milliseconds: its own, what the peak would need, and what the
        bare engine takes in that precision.
    """
    needed, found = result["multiply_adds_a_text"], []
    engines = {
        way["precision"]: 1e3 / median(way["texts_a_second"])
        for way in result["ways"]
        if way["batching"] == BEST
    }
    for name, rounds in compared["loads"][CAPACITY].items():
        rates = [one["texts_a_second"] for one in rounds if "texts_a_second" in one]
        if not rates:
            continue
        precision = compared["peers"][name]["precision"]
        peak = peak_of(result, precision)
        found.append(
            {
                "name": name,
                "precision": precision,
                "texts_a_second": median(rates),
                "share": median(rates) * needed / peak,
                "cpu_ms": median(one["server_cpu"] for one in rounds if "server_cpu" in one),
                "peak_ms": 1e3 * needed / peak,
                "engine_ms": engines.get(precision),
            }
        )
    return found


def _server_lines(result: Mapping[str, Any]) -> list[str]:
    rows: list[dict[str, object]] = [
        {
            "server": one["name"],
            "precision": one["precision"],
            "texts/s": one["texts_a_second"],
            "G multiply-adds/s": one["texts_a_second"] * result["multiply_adds_a_text"] / 1e9,
            "of its precision's peak": f"{one['share']:.2f}",
            "CPU ms a text": f"{one['cpu_ms']:.2f}",
            "at the peak": f"{one['peak_ms']:.2f}",
            "our engine alone": f"{one['engine_ms']:.2f}" if one["engine_ms"] else "",
            "the rest": f"{one['cpu_ms'] - one['engine_ms']:.2f}" if one["engine_ms"] else "",
        }
        for one in sorted(result["servers"], key=lambda one: -float(one["texts_a_second"]))
    ]
    if not rows:
        return []
    return ["", f"Servers, {result['servers_under']}:", "", report.table(rows)]


def _folders(options: argparse.Namespace) -> dict[str, str]:
    if options.shape:
        return shapes.folders(options.shape)
    chosen = {"fp32": options.fp32, "int8": options.int8}
    return {precision: folder for precision, folder in chosen.items() if folder}


def shape_in(files: "ModelFiles") -> Shape:
    """Of a model that can be loaded."""
    config = files.small_file("config.json")
    assert config is not None  # the model would not have loaded
    return shape_of(json.loads(config.read_text()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.roofline", description=__doc__)
    parser.add_argument("--cores", type=machine.parse_cores, default=[0], help="0, 0,1 or 0-3")
    parser.add_argument("--fp32", metavar="DIR", help="model folder, as `make model` leaves it")
    parser.add_argument("--int8", metavar="DIR", default="bundled", help="folder, or bundled")
    parser.add_argument("--shape", choices=shapes.SHAPES, help="random weights of this shape")
    parser.add_argument("--sst2", type=Path, metavar="DIR", help="folder with dev.tsv")
    parser.add_argument("--texts", type=int, help="only so many of the sentences")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compare", type=Path, metavar="JSON", help="of `python -m bench.compare`")
    parser.add_argument(
        "--measured", type=Path, metavar="JSON", help="of an earlier run, to compare it with more"
    )
    parser.add_argument("--json", type=Path, metavar="PATH")
    parser.add_argument("--plot", type=Path, metavar="PATH", help=".svg or .png")
    return parser.parse_args()


if __name__ == "__main__":
    main()
