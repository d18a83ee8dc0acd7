"""A lean HTTP/1.1 load client: keep-alive connections, closed loop and open loop.

Closed loop: each connection sends its next request when it has its answer, so the load is what
the server takes. Open loop: requests are due at times that the server cannot delay, and latency
counts from then on, so a stall shows in every request that it held up, answered or not (no
coordinated omission).

A server that closes or refuses a connection costs the request under way, which counts as an
answer of status 0; the connection is opened again.
"""

import asyncio
import itertools
import random
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, cast

import httptools

OPEN_LOOP_CONNECTIONS = 256
RECONNECT_SECONDS = 0.05  # after a refused or lost connection
PATIENCE_SECONDS = 10.0  # for answers that are due at the end
FILL_SECONDS = 30.0  # for a closed loop to have had an answer on each connection
DRAIN_SECONDS = 30.0  # for the rest of its answers
POLL_SECONDS = 0.02
TICK_SECONDS = 0.05


class Answer(NamedTuple):
    """What came back: for which request, how late (seconds), with which status and body. Status 0
    is none: the connection was refused or lost, or the client's patience ended."""

    request: int
    seconds: float
    status: int
    body: bytes


@dataclass(slots=True)
class Load:
    """The answers of the timed seconds, and what a probe read at both ends of these."""

    seconds: float
    client_cpu_share: float
    answers: list[Answer] = field(default_factory=list)
    readings: list[list[float]] = field(default_factory=list)
    gap: float = 0.0  # the longest time in seconds that this client was held up

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.answers) / self.seconds


class Connection:
    """At most one request under way, on a stream that is opened when it is needed.

    Args:
        address: host and port.
        on_answer: called with this connection and each answer.
    """

    def __init__(
        self, address: tuple[str, int], on_answer: Callable[["Connection", Answer], None]
    ) -> None:
        self._address = address
        self._on_answer = on_answer
        self._request: int | None = None
        self._since = 0.0
        self._stream: _Stream | None = None
        self._opening: asyncio.Task[None] | None = None
        self._closed = False

    def send(self, number: int, request: bytes, since: float) -> None:
        """Send a request whose latency counts from `since` (`time.perf_counter`)."""
        self._request, self._since = number, since
        if self._stream is None:
            self._opening = asyncio.get_running_loop().create_task(self._open(request))
        else:
            self._stream.write(request)

    def close(self) -> None:
        """Close it without waiting for an answer."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
        if self._stream is not None:
            self._stream.abort()

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return self._request is not None

    def unanswered(self, now: float) -> tuple[float, Answer] | None:
        """When the request under way was due, and the answer that has not come."""
        if self._request is None:
            return None
        return self._since, Answer(self._request, now - self._since, 0, b"")

    def answered(self, status: int, body: bytes) -> None:
        """Take what a stream received; one that nobody asked for (a 408, say) is none."""
        number, self._request = self._request, None
        if number is not None and not self._closed:
            seconds = time.perf_counter() - self._since
            self._on_answer(self, Answer(number, seconds, status, body))

    def left(self) -> None:
        """Use the stream no more: the server closes it after its answer."""
        self._stream = None

    def lost(self, stream: "_Stream") -> None:
        """Know that a stream is at its end, and a request under way with it."""
        if stream is not self._stream:
            return
        self._stream = None
        if self._request is not None and not self._closed:
            asyncio.get_running_loop().call_later(RECONNECT_SECONDS, self.answered, 0, b"")

    async def _open(self, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, stream = await loop.create_connection(lambda: _Stream(self), *self._address)
        except OSError:
            await asyncio.sleep(RECONNECT_SECONDS)
            self.answered(0, b"")
        else:
            self._stream = stream
            if stream.ended:
                self.lost(stream)
            else:
                stream.write(request)


class _Stream(asyncio.Protocol):
    """A TCP connection, from its opening to its end."""

    def __init__(self, owner: Connection) -> None:
        self._owner = owner
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._transport: asyncio.WriteTransport | None = None
        self.ended = False

    def write(self, request: bytes) -> None:
        assert self._transport is not None
        self._transport.write(request)

    def abort(self) -> None:
        assert self._transport is not None
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is one by its methods

    def connection_lost(self, error: Exception | None) -> None:
        self.ended = True
        self._owner.lost(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            raise  # ours
        except httptools.HttpParserError:  # what it says is no HTTP
            self.abort()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body = bytes(self._body)
        self._body.clear()
        status, stays = self._parser.get_status_code(), self._parser.should_keep_alive()
        if not stays:
            self._owner.left()
            self.abort()
        self._owner.answered(status, body)


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
        warm_up: seconds before the timed ones; more where a connection would else not yet have
            had its first answer.
        probe: read at the start and at the end of the timed seconds.
    """
    turn = itertools.cycle(enumerate(requests))
    answers: list[Answer] = []
    came, sending = asyncio.Event(), True

    def on_answer(connection: Connection, answer: Answer) -> None:
        answers.append(answer)
        came.set()
        if sending:
            connection.send(*next(turn), time.perf_counter())

    async def next_answer() -> None:
        came.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(came.wait(), PATIENCE_SECONDS)

    opened = [Connection(address, on_answer) for _ in range(connections)]
    for connection in opened:
        connection.send(*next(turn), time.perf_counter())
    await asyncio.sleep(warm_up)
    await _until(lambda: len(answers) >= connections, FILL_SECONDS)
    # From an answer to an answer, since a slow server gives few, and whole batches at once.
    await next_answer()
    answers.clear()
    load = await _timed(seconds, probe, next_answer)
    load.answers = answers.copy()
    sending = False  # and let it finish, or the next load would find its rest
    await _until(lambda: not any(one.busy for one in opened), DRAIN_SECONDS)
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
    connections: int = OPEN_LOOP_CONNECTIONS,
    patience: float = PATIENCE_SECONDS,
) -> Load:
    """Send requests at random (Poisson) times, `rate` a second, whatever the server does.

    The answers are those of the requests that were due in the timed seconds. Those that have not
    come when patience ends count as status 0, as late as they are by then.

    Args:
        connections: at most; a request beyond them is due, and waits for one.
        patience: seconds after the timed ones.
    """
    turn = itertools.cycle(enumerate(requests))
    answers: list[tuple[float, Answer]] = []
    opened: list[Connection] = []
    idle: list[Connection] = []
    late: deque[float] = deque()

    def on_answer(connection: Connection, answer: Answer) -> None:
        answers.append((time.perf_counter() - answer.seconds, answer))
        if late:
            connection.send(*next(turn), late.popleft())
        else:
            idle.append(connection)

    def due(at: float) -> None:
        if not idle and len(opened) < connections:
            opened.append(Connection(address, on_answer))
            idle.append(opened[-1])
        if idle:
            idle.pop().send(*next(turn), at)
        else:
            late.append(at)

    stop = threading.Event()
    sender = threading.Thread(
        target=_call_at, args=(_poisson(rate), due, asyncio.get_running_loop(), stop)
    )
    sender.start()
    try:
        await asyncio.sleep(warm_up)
        started = time.perf_counter()
        load = await _timed(seconds, probe)
    finally:
        stop.set()
        sender.join()
    await _until(lambda: len(idle) == len(opened), patience)
    now = time.perf_counter()
    answers += [one for each in opened if (one := each.unanswered(now))]
    answers += [(at, Answer(0, now - at, 0, b"")) for at in late]
    load.answers = [one for at, one in answers if started <= at < started + load.seconds]
    for connection in opened:
        connection.close()
    return load


async def _timed(
    seconds: float,
    probe: Callable[[], list[float]],
    end: Callable[[], Awaitable[None]] | None = None,
) -> Load:
    before, cpu, started = probe(), time.process_time(), time.perf_counter()
    gap, now = 0.0, started
    while now < started + seconds:
        wait = min(TICK_SECONDS, started + seconds - now)
        await asyncio.sleep(wait)
        now, then = time.perf_counter(), now
        gap = max(gap, now - then - wait)
    if end is not None:
        await end()
    elapsed = time.perf_counter() - started
    share = (time.process_time() - cpu) / elapsed
    return Load(elapsed, share, readings=[before, probe()], gap=gap)


async def _until(reached: Callable[[], bool], seconds: float) -> None:
    for _ in range(round(seconds / POLL_SECONDS)):
        if reached():
            return
        await asyncio.sleep(POLL_SECONDS)


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
