"""Throughput and latency as a request grows from 1 text to 256.

Each size with one client, which waits for every answer, and with enough of them to keep the server
busy.
"""

import argparse
from collections.abc import Mapping
from typing import Any

from .. import report, stage
from ..loads import Measured, Right, task
from ..stage import Stage
from ..wire import OURS
from .loaded import middle

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
TEXTS_UNDER_WAY = 64
ONE, BUSY = "one client", "busy"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of this question."""
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="texts a request")


def clients(size: int) -> int:
    """How many keep the server busy: at least two, so that one waits while the other is served."""
    return max(2, TEXTS_UNDER_WAY // size)


def measure(here: Stage, options: argparse.Namespace) -> dict[str, Any]:
    """Rounds of every size, each with one client and with several."""
    right = list(map(Right, stage.right_labels(here.model, here.sentences)))
    tasks = {size: task(OURS, here.sentences, right, size) for size in options.sizes}
    found: dict[int, dict[str, list[Measured]]] = {
        size: {ONE: [], BUSY: []} for size in options.sizes
    }
    with here.server("growth-batch") as server:
        for _ in range(options.rounds):
            for size, given in tasks.items():
                found[size][ONE].append(here.loader.closed(server, given, 1))
                found[size][BUSY].append(here.loader.closed(server, given, clients(size)))
    return {
        "sizes": {
            str(size): {name: [one.as_dict() for one in each] for name, each in both.items()}
            for size, both in found.items()
        }
    }


def described(result: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    rows = []
    for size, both in result["sizes"].items():
        row: dict[str, object] = {"texts a request": size}
        for name, several in both.items():
            who = name if name == ONE else f"{clients(int(size))} clients"
            label = "" if name == ONE else "busy "
            row |= {
                f"{label}clients": who,
                f"{label}texts/s": report.spread([one["texts_a_second"] for one in several], 1),
                f"{label}p50 ms": middle(several, "p50"),
                f"{label}p99 ms": middle(several, "p99"),
            }
        busy = both[BUSY]
        row |= {
            "server CPU ms a text": f"{middle(busy, 'server_cpu'):.2f}",
            "client CPU": f"{middle(busy, 'client_cpu_share'):.0%}",
            "errors": sum(one["errors"] for several in both.values() for one in several),
        }
        rows.append(row)
    return f"Texts of SST-2 dev; latency is that of a whole request.\n\n{report.table(rows)}"


def panels(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Texts a second, and latency, against size."""
    sizes = list(map(int, result["sizes"]))
    common = {"x": "texts a request", "log_x": True, "ticks": sizes}

    def line(name: str, field: str, label: str) -> dict[str, Any]:
        y = [middle(both[name], field) for both in result["sizes"].values()]
        return {"name": label, "x": sizes, "y": y}

    return [
        common
        | {
            "y": "texts/s",
            "title": "Throughput",
            "lines": [
                line(ONE, "texts_a_second", "one client"),
                line(BUSY, "texts_a_second", "several"),
            ],
        },
        common
        | {
            "y": "ms a request",
            "log_y": True,
            "title": "Latency",
            "lines": [
                line(ONE, "p50", "one client, p50"),
                line(ONE, "p99", "one client, p99"),
                line(BUSY, "p99", "several, p99"),
            ],
        },
    ]
