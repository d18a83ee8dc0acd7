"""One load on one server, measured and judged: a row of the tables that the scripts print."""

import asyncio
import itertools
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import uvloop

from sentiment_k8s.postgres import EmbeddedPostgres

from .client import Answer, Load, closed_loop, open_loop
from .machine import LONGEST_GAP, family_cpu_seconds
from .neighbours import busy_seconds
from .report import percentile
from .servers import Target
from .wire import OURS, Wire

TRIES = 3  # of a load, while the machine stands still meanwhile


class NoAnswers(SystemExit):
    """A server answered nothing in the timed seconds; a script that does not care ends so."""


@dataclass(frozen=True, slots=True)
class Right:
    """The label that is right for a text, and by how much: the reference's logit for it less its
    greatest other one. Without a reference the margin is infinite."""

    label: str
    margin: float = math.inf


@dataclass(frozen=True, slots=True)
class Task:
    """Texts in requests, and what is right for each of these texts."""

    wire: Wire
    requests: list[bytes]
    right: list[list[Right]]


def task(wire: Wire, texts: Sequence[str], right: Sequence[Right], batch: int = 1) -> Task:
    """Texts in a protocol, so many a request; the rest that would not fill one is left out."""
    groups = [range(first, first + batch) for first in range(0, len(texts) - batch + 1, batch)]
    return Task(
        wire,
        [wire.request([texts[at] for at in group]) for group in groups],
        [[right[at] for at in group] for group in groups],
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """What a load showed. Latencies of requests in milliseconds, CPU times in milliseconds a text;
    `answers` and `errors` count texts, whether they came alone or in a batch. `clear_flips` are
    those other labels whose margin is above the error of quantisation, `others_share` what others
    than the server have taken of its cores' time, `gap` the longest time in seconds that the client
    was held up."""

    texts_a_second: float
    p50: float
    p95: float
    p99: float
    worst: float
    answers: int
    errors: int
    other_labels: int
    clear_flips: int
    server_cpu: float
    server_cpu_share: float
    client_cpu_share: float
    postgres_cpu: float
    memory_mib: float
    others_share: float
    gap: float

    def as_dict(self) -> dict[str, Any]:
        """With None for what is not known (NaN, which JSON does not have)."""
        return {name: None if value != value else value for name, value in asdict(self).items()}


class Loader:
    """Loads servers with the same texts and compares every answer with what is expected.

    Args:
        labels: the label that is right for each text of requests that come without a `Task`.
        warm_up: seconds before each measurement.
        seconds: of each measurement.
        postgres: under all of them, perhaps started anew meanwhile; None without.
        clear: the margin from which on another label than the right one is a clear flip.
        cores: those of the servers.
    """

    def __init__(
        self,
        labels: Sequence[str],
        *,
        warm_up: float,
        seconds: float,
        postgres: EmbeddedPostgres | None,
        clear: float = 0.0,
        cores: Sequence[int] = (),
    ) -> None:
        self._right = [[Right(label)] for label in labels]
        self._warm_up, self._seconds = warm_up, seconds
        self._postgres = postgres
        self._clear = clear
        self._cores = cores

    def closed(
        self, server: Target, requests: Task | Sequence[bytes], connections: int
    ) -> Measured:
        """As many requests at once as there are connections.

        Args:
            requests: a task; or the texts of `labels` in our own form, one each.

        Raises:
            NoAnswers: there was none.
        """
        return self._measured(server, requests, closed_loop, connections=connections)

    def open(self, server: Target, requests: Task | Sequence[bytes], rate: float) -> Measured:
        """Requests at random times, `rate` requests a second.

        Args:
            requests: as `closed` takes them.

        Raises:
            NoAnswers: there was none.
        """
        return self._measured(server, requests, open_loop, rate=rate)

    def _measured(
        self,
        server: Target,
        requests: Task | Sequence[bytes],
        load: Callable[..., Coroutine[Any, Any, Load]],
        **options: Any,
    ) -> Measured:
        given = requests if isinstance(requests, Task) else Task(OURS, list(requests), self._right)
        for _ in range(TRIES):
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                loaded = runner.run(
                    load(
                        server.address,
                        given.requests,
                        warm_up=self._warm_up,
                        seconds=self._seconds,
                        probe=lambda: self._probe(server),
                        **options,
                    )
                )
            if loaded.gap < LONGEST_GAP:
                break
        return judged(loaded, given, memory_mib=server.memory_mib(), clear=self._clear)

    def _probe(self, server: Target) -> list[float]:
        running = self._postgres.pid if self._postgres else None
        postgres = family_cpu_seconds(running) if running else 0.0
        return [server.cpu_seconds(), postgres, busy_seconds(self._cores), time.perf_counter()]


def judged(load: Load, given: Task, *, memory_mib: float, clear: float) -> Measured:
    """What a load's answers say, each compared with what is right.

    Args:
        memory_mib: of the server, just after.
        clear: as `Loader` takes it.

    Raises:
        NoAnswers: there was none.
    """
    if not any(answer.status for answer in load.answers):
        raise NoAnswers("There was no answer at all: see the server's log.")
    good = total = others = flips = 0
    for answer in load.answers:
        right = given.right[answer.request]
        total += len(right)
        labels = _labels(given.wire, answer, len(right))
        good += len(labels)
        wrong = [one for one, label in zip(right, labels, strict=False) if label != one.label]
        others += len(wrong)
        flips += sum(one.margin > clear for one in wrong)
    milliseconds = [answer.seconds * 1e3 for answer in load.answers]
    used = [after - before for before, after in zip(*load.readings, strict=True)]
    # Reading takes a moment: what was used is for the seconds between the two readings.
    server, postgres, busy = (each / used[-1] for each in used[:-1])
    return Measured(
        texts_a_second=good / load.seconds,
        p50=percentile(milliseconds, 50),
        p95=percentile(milliseconds, 95),
        p99=percentile(milliseconds, 99),
        worst=max(milliseconds),
        answers=total,
        errors=total - good,
        other_labels=others,
        clear_flips=flips,
        server_cpu=server * load.seconds * 1e3 / total,
        server_cpu_share=server,
        client_cpu_share=load.client_cpu_share,
        postgres_cpu=postgres * load.seconds * 1e3 / total,
        memory_mib=memory_mib,
        others_share=max(0.0, busy - server),
        gap=load.gap,
    )


def _labels(wire: Wire, answer: Answer, texts: int) -> list[str]:
    """A label for each text of a request; none at all for any that is no success."""
    if answer.status != 200:
        return []
    try:
        labels = [one.label for one in wire.labels(answer.body)]
    except ValueError:
        return []
    return labels if len(labels) == texts else []


def turns(names: Sequence[str], rounds: int) -> list[list[str]]:
    """The order of each round: every other one backwards, so that a drift favours nobody."""
    forth, back = list(names), list(reversed(names))
    return list(itertools.islice(itertools.cycle([forth, back]), rounds))
