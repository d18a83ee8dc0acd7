"""A load whose answers are sorted: good ones, refusals, and what should not be."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Protocol

import uvloop

from sentiment_k8s.postgres import EmbeddedPostgres

from ..client import Load
from ..machine import family_cpu_seconds
from ..neighbours import busy_seconds
from ..report import percentile

GOOD, REFUSED = 200, 429


@dataclass(frozen=True, slots=True)
class Sorted:
    """What a load showed. Rates in requests a second, latencies in milliseconds from when a request
    was due (NaN where there was none), CPU in cores; `others` is what no part of this took."""

    offered: float
    good: float
    refused: float
    other: float
    good_p50: float
    good_p99: float
    refused_p50: float
    refused_p99: float
    server_cpu: float
    postgres_cpu: float
    client_cpu: float
    others_cpu: float
    memory_mib: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Loadable(Protocol):
    """What a load needs of a server, or of several as one."""

    address: tuple[str, int]

    def cpu_seconds(self) -> float:
        """CPU time so far."""

    def memory_mib(self) -> float:
        """The most memory so far."""


def run(
    server: Loadable, postgres: EmbeddedPostgres, load: Callable[..., Any], **options: Any
) -> Sorted:
    """Load a server.

    Args:
        load: `client.closed_loop` or `client.open_loop`.
        options: for it.
    """

    def probe() -> list[float]:
        assert postgres.pid is not None  # it runs
        busy = busy_seconds(range(os.cpu_count() or 1))
        return [server.cpu_seconds(), family_cpu_seconds(postgres.pid), busy]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found: Load = runner.run(load(server.address, probe=probe, **options))
    return sorted_answers(found, server.memory_mib())


def sorted_answers(load: Load, memory_mib: float) -> Sorted:
    """Sort a load's answers by their status."""
    by_status: dict[int, list[float]] = {}
    for answer in load.answers:
        by_status.setdefault(answer.status, []).append(1e3 * answer.seconds)
    good, refused = by_status.get(GOOD, []), by_status.get(REFUSED, [])
    server, postgres, busy = (
        (after - before) / load.seconds for before, after in zip(*load.readings, strict=True)
    )
    return Sorted(
        offered=load.rate,
        good=len(good) / load.seconds,
        refused=len(refused) / load.seconds,
        other=(len(load.answers) - len(good) - len(refused)) / load.seconds,
        good_p50=_at(good, 50),
        good_p99=_at(good, 99),
        refused_p50=_at(refused, 50),
        refused_p99=_at(refused, 99),
        server_cpu=server,
        postgres_cpu=postgres,
        client_cpu=load.client_cpu_share,
        others_cpu=max(0.0, busy - server - postgres - load.client_cpu_share),
        memory_mib=memory_mib,
    )


def middle(rounds: Sequence[Mapping[str, Any]], field: str) -> float:
    """The median of a field over rounds."""
    return float(median(one[field] for one in rounds))


def _at(values: Sequence[float], percent: float) -> float:
    return percentile(values, percent) if values else float("nan")
