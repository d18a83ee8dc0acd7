"""Throughput and latency under CPU limits of 0.5 to 2 cores, with throttling.

The server may run on every core, as in a pod; client and PostgreSQL share one of them with it.
"""

import argparse
from collections.abc import Mapping
from statistics import median
from typing import Any

from .. import report, servers
from ..loads import Measured
from ..stage import Stage
from . import limited
from .loaded import middle

# Cores and threads; None leaves the threads to the server.
CASES: tuple[tuple[float, int | None], ...] = (
    (0.5, None),
    (1, None),
    (1.5, 1),
    (1.5, 2),
    (2, None),
)
CLIENTS = 64


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of this question."""
    parser.add_argument(
        "--cases",
        type=_case,
        nargs="+",
        default=CASES,
        metavar="CPUS[:THREADS]",
        help="limits, with the server's threads if it is not to choose them",
    )
    parser.add_argument("--no-container", action="store_true", help="a control group of our own")


def measure(here: Stage, options: argparse.Namespace) -> dict[str, Any]:
    """Rounds of a server for each case: one client, then many."""
    cores = sorted({*options.server_cores, *options.client_cores})
    requests = servers.post_requests(here.sentences)
    make = limited.ControlGroup if options.no_container else limited.best
    cases: dict[str, dict[str, Any]] = {}
    for _ in range(options.rounds):
        for cpus, threads in options.cases:
            name = f"{cpus:g}" + (f", {threads} threads" if threads else "")
            case = cases.setdefault(
                name, {"cpus": cpus, "one": [], "many": [], "throttled": [], "start": []}
            )
            settings = {"SENTIMENT_THREADS": str(threads)} if threads else {}
            with make(cpus, cores) as limit, limit.server(here, settings, "growth-cpu") as server:
                case["in"] = type(limit).__name__
                case["threads"] = threads or limit.usable_threads()
                case["start"].append(server.start_seconds)
                case["one"].append(here.loader.closed(server, requests, 1).as_dict())
                before = limit.throttling()
                many: Measured = here.loader.closed(server, requests, CLIENTS)
                after = limit.throttling()
                case["many"].append(many.as_dict())
                case["throttled"].append(_between(before, after))
    return {"cases": cases}


def described(result: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    rows = []
    for name, case in result["cases"].items():
        many, throttled = case["many"], case["throttled"]
        rows.append(
            {
                "cpus": name,
                "threads": case["threads"],
                "in": {"Container": "container", "ControlGroup": "control group"}[case["in"]],
                "1 client: texts/s": middle(case["one"], "texts_a_second"),
                "p50 ms": middle(case["one"], "p50"),
                "p99 ms": middle(case["one"], "p99"),
                f"{CLIENTS} clients: texts/s": report.spread(
                    [one["texts_a_second"] for one in many], 1
                ),
                "texts/s a cpu": middle(many, "texts_a_second") / case["cpus"],
                f"p50 ms at {CLIENTS}": middle(many, "p50"),
                f"p99 ms at {CLIENTS}": middle(many, "p99"),
                "periods throttled": f"{median(one['share'] for one in throttled):.0%}",
                "ms throttled a period": f"{median(one['ms_a_period'] for one in throttled):.1f}",
                "server CPU": f"{middle(many, 'server_cpu_share'):.2f}",
                "client CPU": f"{middle(many, 'client_cpu_share'):.0%}",
                "ready s": median(case["start"]),
                "errors": sum(one["errors"] for one in [*case["one"], *many]),
            }
        )
    return (
        "The server may use every core within its limit; client and PostgreSQL are on "
        f"{result['cores'][1]}.\n\n{report.table(rows)}"
    )


def panels(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Texts a second, and the tail, against the limit; the better number of threads at each."""
    best: dict[float, dict[str, Any]] = {}
    for case in result["cases"].values():
        known = best.get(case["cpus"])
        if known is None or middle(case["many"], "texts_a_second") > middle(
            known["many"], "texts_a_second"
        ):
            best[case["cpus"]] = case
    limits = sorted(best)
    common = {"x": "CPU limit, cores", "ticks": limits}

    def line(load: str, field: str, name: str) -> dict[str, Any]:
        return {"name": name, "x": limits, "y": [middle(best[at][load], field) for at in limits]}

    return [
        common
        | {
            "y": "texts/s",
            "title": "Throughput",
            "lines": [
                line("many", "texts_a_second", f"{CLIENTS} clients"),
                line("one", "texts_a_second", "1 client"),
            ],
        },
        common
        | {
            "y": "ms",
            "log_y": True,
            "title": "Latency",
            "lines": [
                line("many", "p99", f"{CLIENTS} clients, p99"),
                line("one", "p99", "1 client, p99"),
                line("one", "p50", "1 client, p50"),
            ],
        },
    ]


def _case(text: str) -> tuple[float, int | None]:
    cpus, _, threads = text.partition(":")
    return float(cpus), int(threads) if threads else None


def _between(before: limited.Throttling, after: limited.Throttling) -> dict[str, float]:
    periods = after.periods - before.periods
    if not periods:
        return {"share": 0.0, "ms_a_period": 0.0}
    return {
        "share": (after.throttled - before.throttled) / periods,
        "ms_a_period": 1e3 * (after.seconds - before.seconds) / periods,
    }
