"""Throughput and latency as the offered load passes the capacity.

An open loop at shares of what a closed loop of 64 clients gets, in the same run. Past the capacity
the rest should be refused quickly, and what is answered should stay what it was.
"""

import argparse
from collections.abc import Mapping
from functools import partial
from statistics import median
from typing import Any

from .. import report, servers
from ..client import closed_loop, open_loop
from ..stage import Stage
from .loaded import Sorted, middle, run

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.5, 2.0, 3.0)
CLIENTS = 64
# More than a server admits, so that a request never waits for a connection; fewer than it takes.
CONNECTIONS = 4000


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of this question."""
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="of the capacity")
    parser.add_argument(
        "--settle", type=float, default=10.0, help="seconds before each load past 0.9 of it"
    )
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the server"
    )


def measure(here: Stage, options: argparse.Namespace) -> dict[str, Any]:
    """Rounds of the capacity and then every load, upwards."""
    requests = servers.post_requests(here.sentences)
    capacity: list[Sorted] = []
    loads: dict[str, list[Sorted]] = {f"{share:g}": [] for share in options.shares}
    with here.server(
        "growth-load", environment=dict(one.split("=", 1) for one in options.set)
    ) as server:
        load = partial(run, server, here.postgres, requests=requests, seconds=options.seconds)
        for _ in range(options.rounds):
            capacity.append(load(closed_loop, connections=CLIENTS, warm_up=options.warm_up))
            for share in options.shares:
                loads[f"{share:g}"].append(
                    load(
                        open_loop,
                        rate=share * capacity[-1].good,
                        connections=CONNECTIONS,
                        warm_up=options.settle if share > 0.9 else options.warm_up,
                    )
                )
    peak = max(median(one.good for one in several) for several in [capacity, *loads.values()])
    return {
        "settings": options.set,
        "capacity": [one.as_dict() for one in capacity],
        "loads": {share: [one.as_dict() for one in several] for share, several in loads.items()},
        "goodput_over_peak": {
            share: [one.good / peak for one in several] for share, several in loads.items()
        },
    }


def described(result: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    rows = [_row(f"closed, {CLIENTS} clients", result["capacity"])]
    rows += [_row(f"{float(share):.0%}", several) for share, several in result["loads"].items()]
    most = max(result["loads"], key=float)
    settings = f"; {', '.join(result['settings'])}" if result["settings"] else ""
    return "\n".join(
        [
            f"Server on cores {result['cores'][0]}; client and PostgreSQL on {result['cores'][1]}; "
            f"single texts of SST-2 dev by POST, Poisson arrivals{settings}.",
            "",
            report.table(rows),
            "",
            f"- goodput at {float(most):.0%} over the peak: "
            f"{report.spread(result['goodput_over_peak'][most])}",
        ]
    )


def panels(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Goodput, and latency, against the load."""
    capacity = middle(result["capacity"], "good")
    shares = list(map(float, result["loads"]))
    offered = [capacity * share for share in shares]

    def line(name: str, field: str, style: str = "o-") -> dict[str, Any]:
        loads = result["loads"].values()
        y = [middle(several, field) for several in loads]
        return {"name": name, "x": offered, "y": y, "style": style}

    ideal = [min(each, capacity) for each in offered]
    return [
        {
            "x": "offered, texts/s",
            "y": "texts/s",
            "title": "Goodput and refusals",
            "lines": [
                line("answered", "good"),
                line("refused", "refused"),
                {"name": "ideal", "x": offered, "y": ideal, "style": "--"},
            ],
        },
        {
            "x": "offered, texts/s",
            "y": "ms from due to answer",
            "title": "Latency",
            "log_y": True,
            "lines": [
                line("answered, p50", "good_p50"),
                line("answered, p99", "good_p99"),
                line("refused, p50", "refused_p50"),
                line("refused, p99", "refused_p99"),
            ],
        },
    ]


def _row(name: str, several: list[dict[str, Any]]) -> dict[str, object]:
    def at(field: str) -> float:
        return middle(several, field)

    return {
        "load": name,
        "offered/s": at("offered"),
        "answered/s": report.spread([one["good"] for one in several], 1),
        "refused/s": at("refused"),
        "other/s": at("other"),
        "answered p50 ms": at("good_p50"),
        "p99 ms": at("good_p99"),
        "refused p50 ms": at("refused_p50"),
        "refused p99 ms": at("refused_p99"),
        "server CPU": f"{at('server_cpu'):.0%}",
        "PostgreSQL CPU": f"{at('postgres_cpu'):.0%}",
        "client CPU": f"{at('client_cpu'):.0%}",
        "others' CPU": f"{at('others_cpu'):.0%}",
        "RSS MiB": f"{max(one['memory_mib'] for one in several):.0f}",
    }
