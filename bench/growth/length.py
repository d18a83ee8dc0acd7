"""Throughput and latency as texts grow from 8 to 512 tokens.

The linear layers grow with a text, attention with its square.
"""

import argparse
from collections.abc import Mapping
from statistics import median
from typing import Any

from .. import engine, machine, report, servers
from ..engine import shape_in
from ..loads import Measured
from ..stage import Stage
from ..texts import composed

LENGTHS = (8, 16, 32, 64, 128, 256, 512)
CLIENTS = 64
TEXTS = 256


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of this question."""
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="in tokens")


def measure(here: Stage, options: argparse.Namespace) -> dict[str, Any]:
    """Rounds of every length, through the service and in the bare engine."""
    from sentiment_k8s.hub import find_model
    from sentiment_k8s.model import Model

    files = find_model(here.model)
    with machine.pinned(here.server_cores):
        model = Model(files, len(here.server_cores))
    asked = {
        length: composed(here.sentences, [length] * TEXTS, model.tokenizer)
        for length in options.lengths
    }
    tokens = {length: model.tokenizer.encode(some) for length, some in asked.items()}
    alone: dict[int, list[float]] = {length: [] for length in asked}
    served: dict[int, list[Measured]] = {length: [] for length in asked}
    with here.server("growth-length") as server:
        for _ in range(options.rounds):
            for length, some in asked.items():
                with machine.pinned(here.server_cores):
                    alone[length].append(engine.rate(model, engine.batches(tokens[length], 512)))
                requests = servers.post_requests(some)
                served[length].append(here.loader.closed(server, requests, CLIENTS))
    shape = shape_in(files)
    return {
        "lengths": {
            str(length): {
                "multiply_adds_a_text": shape.a_text(length),
                "engine": alone[length],
                "service": [one.as_dict() for one in served[length]],
            }
            for length in asked
        }
    }


def described(result: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    rows = []
    for length, one in result["lengths"].items():
        rates = [each["texts_a_second"] for each in one["service"]]
        shares = [rate / alone for rate, alone in zip(rates, one["engine"], strict=True)]
        rows.append(
            {
                "tokens a text": length,
                "texts/s": report.spread(rates, 1),
                "tokens/s": f"{median(rates) * int(length):,.0f}",
                "p50 ms": _middle(one, "p50"),
                "p99 ms": _middle(one, "p99"),
                "engine texts/s": report.spread(one["engine"], 1),
                "service / engine": report.spread(shares),
                "G multiply-adds/s": median(rates) * one["multiply_adds_a_text"] / 1e9,
                "server CPU ms a text": f"{_middle(one, 'server_cpu'):.2f}",
                "client CPU": f"{_middle(one, 'client_cpu_share'):.0%}",
                "errors": sum(each["errors"] for each in one["service"]),
            }
        )
    return (
        f"{CLIENTS} clients, one text a request, all texts of one length.\n\n{report.table(rows)}"
    )


def panels(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Tokens a second, and latency, against length."""
    lengths = list(map(int, result["lengths"]))
    found = result["lengths"].values()
    common = {"x": "tokens a text", "log_x": True, "ticks": lengths}
    return [
        common
        | {
            "y": "tokens/s",
            "title": "Throughput",
            "lines": [
                {
                    "name": "service",
                    "x": lengths,
                    "y": [
                        n * _middle(one, "texts_a_second")
                        for n, one in zip(lengths, found, strict=True)
                    ],
                },
                {
                    "name": "bare engine",
                    "x": lengths,
                    "y": [n * median(one["engine"]) for n, one in zip(lengths, found, strict=True)],
                },
            ],
        },
        common
        | {
            "y": "ms",
            "log_y": True,
            "title": f"Latency at {CLIENTS} clients",
            "lines": [
                {"name": name, "x": lengths, "y": [_middle(one, name) for one in found]}
                for name in ("p50", "p99")
            ],
        },
    ]


def _middle(one: Mapping[str, Any], field: str) -> float:
    return float(median(each[field] for each in one["service"]))
