"""A lean HTTP/1.1 load client: keep-alive connections, closed loop and open loop.

Closed loop: each connection sends its next request when it has its answer, so the load is what
the server takes. Open loop: requests are due at times that the server cannot delay, and latency
counts from then on, so a stall shows in every request that it held up (no coordinated omission).
"""

import asyncio
import itertools
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

import httptools

OPEN_LOOP_CONNECTIONS = 256


class Answer(NamedTuple):
    """What came back: for which request, how late (seconds), with which status and body."""

    request: int
    seconds: float
    status: int
    body: bytes


@dataclass(slots=True)
class Load:
    """The answers that arrived within the timed seconds, and what a probe read at both ends."""

    seconds: float
    client_cpu_share: float
    answers: list[Answer] = field(default_factory=list)
    readings: list[list[float]] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.answers) / self.seconds


class Connection(asyncio.Protocol):
    """One connection with at most one request under way.

    Args:
        on_answer: called with this connection and each answer.
    """

    def __init__(self, on_answer: Callable[["Connection", Answer], None]) -> None:
        self._on_answer = on_answer
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._request = 0
        self._since = 0.0
        self._transport: asyncio.WriteTransport | None = None
        self._closed = False

    def send(self, number: int, request: bytes, since: float) -> None:
        """Send a request whose latency counts from `since` (`time.perf_counter`)."""
        assert self._transport is not None
        self._request, self._since = number, since
        self._transport.write(request)

    def close(self) -> None:
        """Close it without waiting for an answer."""
        assert self._transport is not None
        self._closed = True
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is one by its methods

    def connection_lost(self, error: Exception | None) -> None:
        if not self._closed:
            raise SystemExit(f"The server closed a connection: {error or 'without a word'}.")

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        seconds = time.perf_counter() - self._since
        body, self._body = bytes(self._body), bytearray()
        answer = Answer(self._request, seconds, self._parser.get_status_code(), body)
        self._on_answer(self, answer)


async def closed_loop(
    address: tuple[str, int],
    requests: Sequence[bytes],
    *,
    connections: int,
    warm_up: float,
    seconds: float,
    probe: Callable[[], list[float]],
) -> Load:
    """Keep so many connections busy.

    Args:
        requests: whole requests as they go over the wire, sent in turn, over and over.
        warm_up: seconds before the timed ones.
        probe: read at the start and at the end of the timed seconds.
    """
    turn = itertools.cycle(enumerate(requests))
    answers: list[Answer] = []

    def on_answer(connection: Connection, answer: Answer) -> None:
        answers.append(answer)
        connection.send(*next(turn), time.perf_counter())

    opened = [await _open(address, on_answer) for _ in range(connections)]
    for connection in opened:
        connection.send(*next(turn), time.perf_counter())
    load = await _timed(answers, warm_up, seconds, probe)
    for connection in opened:
        connection.close()
    return load


async def open_loop(
    address: tuple[str, int],
    requests: Sequence[bytes],
    *,
    rate: float,
    warm_up: float,
    seconds: float,
    probe: Callable[[], list[float]],
) -> Load:
    """Send requests at random (Poisson) times, `rate` a second, whatever the server does."""
    turn = itertools.cycle(enumerate(requests))
    answers: list[Answer] = []
    idle: list[Connection] = []
    late: deque[float] = deque()

    def on_answer(connection: Connection, answer: Answer) -> None:
        answers.append(answer)
        if late:
            connection.send(*next(turn), late.popleft())
        else:
            idle.append(connection)

    def due(at: float) -> None:
        if idle:
            idle.pop().send(*next(turn), at)
        else:
            late.append(at)

    opened = [await _open(address, on_answer) for _ in range(OPEN_LOOP_CONNECTIONS)]
    idle.extend(opened)
    stop = threading.Event()
    sender = threading.Thread(
        target=_call_at, args=(_poisson(rate), due, asyncio.get_running_loop(), stop)
    )
    sender.start()
    try:
        load = await _timed(answers, warm_up, seconds, probe)
    finally:
        stop.set()
        sender.join()
    for connection in opened:
        connection.close()
    return load


async def _open(
    address: tuple[str, int], on_answer: Callable[[Connection, Answer], None]
) -> Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(on_answer), *address)
    return connection


async def _timed(
    answers: list[Answer], warm_up: float, seconds: float, probe: Callable[[], list[float]]
) -> Load:
    await asyncio.sleep(warm_up)
    answers.clear()
    before, cpu, started = probe(), time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    elapsed = time.perf_counter() - started
    share = (time.process_time() - cpu) / elapsed
    return Load(elapsed, share, answers.copy(), [before, probe()])


def _poisson(rate: float) -> Iterator[float]:
    """Times of `time.perf_counter`, the same gaps in every run."""
    gaps, at = random.Random(3), time.perf_counter()
    while True:
        at += gaps.expovariate(rate)
        yield at


def _call_at(
    times: Iterator[float],
    function: Callable[[float], None],
    loop: asyncio.AbstractEventLoop,
    stop: threading.Event,
) -> None:
    """In a thread: the event loop's own timers are only good to a millisecond."""
    for at in times:
        time.sleep(max(0.0, at - time.perf_counter()))
        if stop.is_set():
            return
        loop.call_soon_threadsafe(function, at)
