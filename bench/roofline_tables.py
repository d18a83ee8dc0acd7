"""What `bench.roofline` has measured, as tables: peaks, bandwidths, the engine, the servers."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from . import clock, gemm, report, sampling
from .scenarios import CAPACITY

BEST = "budget 512"


def roof(peak: float, bandwidth: float, intensity: float) -> float:
    """Multiply-adds a second that a roofline allows (Williams, Waterman and Patterson, 2009).

    Args:
        peak: multiply-adds a second.
        bandwidth: bytes a second.
        intensity: multiply-adds a byte.
    """
    return min(peak, bandwidth * intensity)


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
            *rest(result),
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
                "engine": _named(way),
                "tokens a batch": way["tokens_a_batch"],
                "padding": f"{way['padding']:.1%}",
                "texts/s": report.spread(rates, 1),
                "G multiply-adds/s": median(rates) * needed / 1e9,
                "of its precision's peak": _share(rates, needed, result, way["precision"]),
                "of the fp32 peak": _share(rates, needed, result, "fp32"),
            }
        )
    return rows


def _named(way: Mapping[str, Any]) -> str:
    return f"{way['engine']}, {way['precision']}, {way['batching']}"


def _share(rates: list[float], needed: float, result: Mapping[str, Any], precision: str) -> str:
    """Of the same round's peak."""
    peaks = [
        max(one["multiply_adds_a_second"] for one in each["peaks"] if one["precision"] == precision)
        for each in result["rounds"]
    ]
    return report.spread([r * needed / peak for r, peak in zip(rates, peaks, strict=True)])


def rest(result: Mapping[str, Any]) -> list[str]:
    """Milliseconds a text by kind of work, and how much of each the peak would need; then what
    profiling cost, or why there is none."""
    rows: list[dict[str, object]] = []
    for way in result["ways"]:
        profile = way["profile"]
        for part in profile["parts"]:
            # Our encoder attends in floats, whatever its weights are.
            floats = part["kind"] == sampling.ATTENTION
            peak = peak_of(result, "fp32" if floats else way["precision"])
            took = 1e3 * part["seconds"] / profile["texts"]
            adds = part["multiply_adds"]
            rows.append(
                {
                    "engine": _named(way),
                    "work": part["kind"],
                    "ms a text": f"{took:.3f}",
                    "share": f"{part['seconds'] / profile['seconds']:.1%}",
                    "of it at the peak": f"{adds / peak / part['seconds']:.2f}" if adds else "",
                    "G multiply-adds/s": f"{adds / part['seconds'] / 1e9:.0f}" if adds else "",
                }
            )
    lines = [f"- {_named(way)}: {_profiled(way)}" for way in result["ways"]]
    return [report.table(rows), "", *lines] if rows else lines


def _profiled(way: Mapping[str, Any]) -> str:
    profile = way["profile"]
    if "left_out" in profile:
        return f"without its parts: {profile['left_out']}"
    slower = median(way["texts_a_second"]) * profile["seconds"] / profile["texts"] - 1
    return f"profiling made it {slower:.0%} slower."


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
