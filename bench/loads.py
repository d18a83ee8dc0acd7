"""One load on one server, measured and judged: a row of the tables that the scripts print."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import uvloop

from sentiment_k8s.postgres import EmbeddedPostgres

from .client import Load, closed_loop, open_loop
from .machine import family_cpu_seconds
from .report import percentile
from .servers import Server


@dataclass(frozen=True, slots=True)
class Measured:
    """What a load showed. Latencies in milliseconds, CPU times in milliseconds a text."""

    texts_a_second: float
    p50: float
    p95: float
    p99: float
    worst: float
    answers: int
    errors: int
    other_labels: int
    server_cpu: float
    server_cpu_share: float
    client_cpu_share: float
    postgres_cpu: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Loader:
    """Loads servers with the same texts and compares every answer with what is expected.

    Args:
        labels: the label that is right for each text.
        warm_up: seconds before each measurement.
        seconds: of each measurement.
        postgres: under all of them, perhaps started anew meanwhile; None without.
    """

    def __init__(
        self,
        labels: Sequence[str],
        *,
        warm_up: float,
        seconds: float,
        postgres: EmbeddedPostgres | None,
    ) -> None:
        self._labels = labels
        self._times = {"warm_up": warm_up, "seconds": seconds}
        self._postgres = postgres

    def closed(self, server: Server, requests: Sequence[bytes], connections: int) -> Measured:
        """As many requests at once as there are connections."""
        probe = self._probe(server)
        return self._judge(
            _run(
                closed_loop(
                    server.address, requests, connections=connections, probe=probe, **self._times
                )
            )
        )

    def open(self, server: Server, requests: Sequence[bytes], rate: float) -> Measured:
        """Requests at random times, `rate` a second."""
        probe = self._probe(server)
        return self._judge(
            _run(open_loop(server.address, requests, rate=rate, probe=probe, **self._times))
        )

    def _probe(self, server: Server) -> Callable[[], list[float]]:
        def probe() -> list[float]:
            postgres = family_cpu_seconds(self._postgres.pid) if self._postgres else 0.0
            return [server.cpu_seconds(), postgres]

        return probe

    def _judge(self, load: Load) -> Measured:
        if not load.answers:
            raise SystemExit("There was no answer at all: see the server's log.")
        good = errors = others = 0
        for answer in load.answers:
            label = _label(answer.status, answer.body)
            errors += label is None
            others += label is not None and label != self._labels[answer.request]
            good += label is not None
        milliseconds = [answer.seconds * 1e3 for answer in load.answers]
        server, postgres = (after - before for before, after in zip(*load.readings, strict=True))
        return Measured(
            texts_a_second=good / load.seconds,
            p50=percentile(milliseconds, 50),
            p95=percentile(milliseconds, 95),
            p99=percentile(milliseconds, 99),
            worst=max(milliseconds),
            answers=len(load.answers),
            errors=errors,
            other_labels=others,
            server_cpu=server * 1e3 / len(load.answers),
            server_cpu_share=server / load.seconds,
            client_cpu_share=load.client_cpu_share,
            postgres_cpu=postgres * 1e3 / len(load.answers),
        )


def _label(status: int, body: bytes) -> str | None:
    """The label in an answer; None for any that is no success. The book's app says 200 with an
    error inside."""
    answer = json.loads(body) if status == 200 else {}
    label = answer.get("prediction")
    return None if label is None else str(label)


def _run(coroutine: Any) -> Load:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        load: Load = runner.run(coroutine)
        return load
