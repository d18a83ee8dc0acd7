"""A comparison (compare.py) as Markdown: throughput, latency, costs, ratios, and what to know."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from . import report
from .machine import LONGEST_GAP
from .scenarios import CAPACITY, HALF, OPEN, SAME

NONE = "–"
US = {"int8": "ours", "fp32": "ours-fp32"}
LATENCY_OF = ("1", CAPACITY, HALF, SAME)
CLIENT_SHARE = 0.7  # of a core, from which on the client may have been the limit

Rows = list[dict[str, object]]


def described(result: Mapping[str, Any]) -> str:
    """All tables, and the notes."""
    parts = [
        f"Machine: {result['described']}; stolen {result['stolen_share']:.1%}.",
        f"Each server on cores {result['cores'][0]}, client and PostgreSQL on "
        f"{result['cores'][1]}; {result['rounds']} rounds of {result['seconds']:g} s a load; "
        "medians (least to greatest). The same weights in every server.",
        "### Texts a second",
        report.table(throughput(result)),
    ]
    if rows := latency(result):
        parts += ["### Latency of a request: p50 / p95 / p99 in ms", report.table(rows)]
    if rows := costs(result):
        parts += ["### What it costs, and whether it is right", report.table(rows)]
    if rows := ratios(result):
        parts += ["### How many times as many texts a second as a peer", report.table(rows)]
    return "\n\n".join([*parts, "\n".join(notes(result))])


def throughput(result: Mapping[str, Any]) -> Rows:
    """A row a server, a column a scenario."""
    return [
        {
            "server": name,
            "precision": peer["precision"],
            **{
                what: _spread(result, scenario, name, "texts_a_second")
                for scenario, what in result["scenarios"].items()
            },
        }
        for name, peer in result["peers"].items()
    ]


def latency(result: Mapping[str, Any]) -> Rows:
    """A row a server, for the scenarios in which waiting is the point."""
    chosen = [one for one in LATENCY_OF if one in result["scenarios"]]
    if not chosen:
        return []
    return [
        {"server": name}
        | {
            result["scenarios"][scenario]: _percentiles(result, scenario, name)
            for scenario in chosen
        }
        for name in _measured(result)
    ]


def costs(result: Mapping[str, Any]) -> Rows:
    """A row a server."""
    rows = []
    for name in _measured(result):
        peer = result["peers"][name]
        loads = [one for scenario in result["scenarios"] for one in good(result, scenario, name)]
        answers = sum(one["answers"] for one in loads)
        rows.append(
            {
                "server": name,
                "most memory MiB": _number([one["memory_mib"] for one in loads], max, 0),
                "start to first answer s": _number(peer["start_seconds"][-1:], max, 1),
                "CPU ms a text, 64 clients": _middle(result, CAPACITY, name, "server_cpu", 2),
                "CPU of a core, idle": _percent(peer["idle_share"]),
                "errors": sum(one["errors"] for one in loads),
                "other label than fp32": _share(sum(one["other_labels"] for one in loads), answers),
                "of these clear": sum(one["clear_flips"] for one in loads),
            }
        )
    return rows


def ratios(result: Mapping[str, Any]) -> Rows:
    """Our texts a second over a peer's in the same round: at equal precision, and, for peers that
    come in fp32, as we come."""
    rows: Rows = []
    for name in _measured(result):
        precision = result["peers"][name]["precision"]
        for us in dict.fromkeys((US[precision], US["int8"])):
            if name in US.values() or us not in result["peers"]:
                continue
            row: dict[str, object] = {
                "ratio": f"{us} / {name}",
                "precisions": f"{result['peers'][us]['precision']} / {precision}",
            }
            for scenario, what in result["scenarios"].items():
                if scenario not in OPEN:  # where the rate is given
                    row[what] = ratio(result, scenario, us, name)
            rows.append(row)
    return rows


def ratio(result: Mapping[str, Any], scenario: str, us: str, peer: str) -> str:
    """Of the rounds that both have, as a median with its spread."""
    loads = result["loads"].get(scenario, {})
    values = [
        one["texts_a_second"] / other["texts_a_second"]
        for one, other in zip(loads.get(us, ()), loads.get(peer, ()), strict=False)
        if one.get("texts_a_second") and other.get("texts_a_second")
    ]
    return report.spread(values) if values else NONE


def notes(result: Mapping[str, Any]) -> Iterator[str]:
    """What a reader must know of the figures."""
    for name, peer in result["peers"].items():
        if peer["reason"]:
            yield f"- {name}: not measured: {peer['reason']}"
            continue
        known = f" ({peer['version']})" if peer["version"] else ""
        yield f"- {name}{known}: {peer['settings']}." + _oddities(peer)
        for scenario, reason in _failures(result, name):
            yield f"  - {result['scenarios'][scenario]}: not measured: {reason}"
    yield (
        "- Memory is that of all the server's processes: VmHWM of one, the sum of Pss of several "
        "(after each load, the most of all). PostgreSQL is not in it."
    )
    yield (
        f"- A label is clear where the fp32 margin is above {result['quantisation_error']:.2f}, "
        "which the int8 file keeps within for 99 of 100 texts."
    )
    others = max((one["others_share"] for one in _all(result)), default=0.0)
    yield f"- Others than the server took {others:.0%} of its cores' time at most during a load."
    if held := sum(one["gap"] >= LONGEST_GAP for one in _all(result)):
        yield f"- The machine stood still during {held} loads: distrust these figures."
    busiest = max((one["client_cpu_share"] for one in _all(result)), default=0.0)
    yield f"- The client used {busiest:.0%} of its core at most." + (
        " It may have been the limit there." if busiest > CLIENT_SHARE else ""
    )


def good(result: Mapping[str, Any], scenario: str, name: str) -> list[dict[str, Any]]:
    """The rounds of a server in a scenario that have figures."""
    return [one for one in result["loads"].get(scenario, {}).get(name, ()) if "reason" not in one]


def _measured(result: Mapping[str, Any]) -> list[str]:
    return [
        name
        for name in result["peers"]
        if any(good(result, scenario, name) for scenario in result["scenarios"])
    ]


def _all(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for scenario in result["scenarios"]:
        for name in result["peers"]:
            yield from good(result, scenario, name)


def _failures(result: Mapping[str, Any], name: str) -> Iterator[tuple[str, str]]:
    for scenario, loads in result["loads"].items():
        reasons = {one["reason"] for one in loads.get(name, ()) if "reason" in one}
        for reason in sorted(reasons):
            yield scenario, reason


def _oddities(peer: Mapping[str, Any]) -> str:
    said = ""
    if peer["alone"]:
        said += f" It uses {_percent(peer['idle_share'])} of a core when idle, so it ran by itself."
    if peer["strayed_threads"]:
        said += f" {peer['strayed_threads']} threads had left its cores and were brought back."
    return said


def _spread(result: Mapping[str, Any], scenario: str, name: str, field: str) -> str:
    rounds = good(result, scenario, name)
    return report.spread([one[field] for one in rounds], 1) if rounds else NONE


def _middle(result: Mapping[str, Any], scenario: str, name: str, field: str, digits: int) -> str:
    return _number([one[field] for one in good(result, scenario, name)], median, digits)


def _percentiles(result: Mapping[str, Any], scenario: str, name: str) -> str:
    rounds = good(result, scenario, name)
    if not rounds:
        return NONE
    return " / ".join(f"{median(one[at] for one in rounds):.1f}" for at in ("p50", "p95", "p99"))


def _number(values: Sequence[float | None], of: Callable[[list[float]], float], digits: int) -> str:
    known = [value for value in values if value is not None]
    return f"{of(known):.{digits}f}" if known else NONE


def _percent(share: float | None) -> str:
    return NONE if share is None else f"{share:.0%}"


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole}" if whole else NONE
