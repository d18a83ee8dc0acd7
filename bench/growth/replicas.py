"""Throughput of one server and of two, each with a core of its own, on one log.

Connections are dealt to the servers by turns, as a Service deals them. Client and PostgreSQL run on
the client's cores: on two cores that is the second server's too.
"""

import argparse
import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any

from .. import report, servers
from ..client import Load, closed_loop
from ..servers import Server
from ..stage import Stage
from .loaded import Sorted, middle, run

COUNTS = (1, 2)
CLIENTS = 64


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of this question."""
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="of servers")


def dealt(connections: int, count: int) -> list[int]:
    """How many connections each of so many servers gets by turns."""
    return [connections // count + (place < connections % count) for place in range(count)]


class Replicas:
    """Several servers as one target of a load."""

    def __init__(self, several: Sequence[Server]) -> None:
        self.servers = several
        self.address = several[0].address
        self.start_seconds = max(one.start_seconds for one in several)

    def cpu_seconds(self) -> float:
        return sum(one.cpu_seconds() for one in self.servers)

    def memory_mib(self) -> float:
        return sum(one.memory_mib() for one in self.servers)

    async def closed_loop(
        self, _: tuple[str, int], *, probe: Callable[[], list[float]], connections: int, **loop: Any
    ) -> Load:
        """`client.closed_loop` on all of them at once, the connections dealt in turn."""
        parts = dealt(connections, len(self.servers))
        first, *others = await asyncio.gather(
            *(
                closed_loop(one.address, probe=probe, connections=part, **loop)
                for one, part in zip(self.servers, parts, strict=True)
            )
        )
        for other in others:
            first.answers += other.answers
        return first


def measure(here: Stage, options: argparse.Namespace) -> dict[str, Any]:
    """Rounds of each number of servers, by turns."""
    requests = servers.post_requests(here.sentences)
    cores = [*options.server_cores, *options.client_cores]
    found: dict[int, list[Sorted]] = {count: [] for count in options.counts}
    with ExitStack() as stack:
        all_servers = [
            stack.enter_context(
                servers.ours(
                    here.model,
                    here.database_url,
                    [cores[number % len(cores)]],
                    record="required",
                    spool=here.scratch / f"spool-{number}",
                    log=here.logs / f"growth-replica-{number}.log",
                )
            )
            for number in range(max(options.counts))
        ]
        for number in range(options.rounds):
            for count in sorted(found, reverse=bool(number % 2)):
                replicas = Replicas(all_servers[:count])
                found[count].append(
                    run(
                        replicas,
                        here.postgres,
                        replicas.closed_loop,
                        requests=requests,
                        connections=CLIENTS,
                        warm_up=options.warm_up,
                        seconds=options.seconds,
                    )
                )
    return {
        "counts": {str(count): [one.as_dict() for one in each] for count, each in found.items()}
    }


def described(result: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    counts = result["counts"]
    least = min(counts, key=int)
    rows = []
    for count, several in counts.items():
        ratios = [
            one["good"] / other["good"] for one, other in zip(several, counts[least], strict=True)
        ]
        rows.append(
            {
                "servers": count,
                "texts/s": report.spread([one["good"] for one in several], 1),
                f"over {least}": report.spread(ratios),
                "p50 ms": middle(several, "good_p50"),
                "p99 ms": middle(several, "good_p99"),
                "server CPU ms a text": f"{_cost(several, 'server_cpu'):.2f}",
                "PostgreSQL CPU ms a text": f"{_cost(several, 'postgres_cpu'):.2f}",
                "client CPU ms a text": f"{_cost(several, 'client_cpu'):.2f}",
                "cores in use": f"{_cores(several):.2f}",
                "by others": f"{middle(several, 'others_cpu'):.2f}",
                "other/s": middle(several, "other"),
            }
        )
    shared = [core for core in result["cores"][1] if core not in result["cores"][0]]
    return (
        f"{CLIENTS} clients in all, single texts of SST-2 dev; the first server on "
        f"{result['cores'][0]}, further ones on {shared}, where client and PostgreSQL run too.\n\n"
        f"{report.table(rows)}"
    )


def panels(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Texts a second against servers, and what more would give if nothing were shared."""
    counts = sorted(map(int, result["counts"]))
    rates = [middle(result["counts"][str(count)], "good") for count in counts]
    return [
        {
            "x": "servers",
            "y": "texts/s",
            "title": "Throughput",
            "ticks": counts,
            "lines": [
                {"name": "measured", "x": counts, "y": rates},
                {
                    "name": "a core each, nothing shared",
                    "x": counts,
                    "y": [rates[0] * count / counts[0] for count in counts],
                    "style": "--",
                },
            ],
        }
    ]


def _cores(several: list[dict[str, Any]]) -> float:
    return sum(middle(several, each) for each in ("server_cpu", "postgres_cpu", "client_cpu"))


def _cost(several: list[dict[str, Any]], field: str) -> float:
    """CPU time a text, in milliseconds."""
    return float(median(1e3 * one[field] / one["good"] for one in several))
