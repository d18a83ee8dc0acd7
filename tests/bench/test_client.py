import asyncio
import math
import time
from typing import Any

from bench.client import Load, closed_loop, open_loop
from bench.servers import free_port

from .answering import answering, response

REQUESTS = [b"GET /0 HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"]
GOOD = response(b"{}")


def loaded(load: Any, address: tuple[str, int], **options: Any) -> Load:
    """Run a loop against a server, without warm-up."""
    times = {"warm_up": 0.0, "seconds": 0.4, "probe": lambda: [time.process_time()]}
    result: Load = asyncio.run(load(address, REQUESTS, **(times | options)))
    return result


async def good(_: int, writer: asyncio.StreamWriter) -> None:
    writer.write(GOOD)


def test_every_request_has_its_answer() -> None:
    with answering(good) as address:
        load = loaded(closed_loop, address, connections=3)
    assert {answer.status for answer in load.answers} == {200}
    assert {answer.request for answer in load.answers} == {0, 1}
    assert {answer.body for answer in load.answers} == {b"{}"}
    assert load.seconds >= 0.4
    assert load.rate == len(load.answers) / load.seconds


def test_a_closed_connection_is_an_error_and_opened_again() -> None:
    async def sometimes(number: int, writer: asyncio.StreamWriter) -> None:
        if number % 5 == 4:
            writer.transport.abort()
        else:
            writer.write(GOOD)

    with answering(sometimes) as address:
        load = loaded(closed_loop, address, connections=2)
    statuses = [answer.status for answer in load.answers]
    assert statuses.count(0) >= 2, "no second error, so no new connection after the first"
    assert statuses.count(200) > statuses.count(0)


def test_a_server_that_closes_after_its_answer_is_asked_anew() -> None:
    async def once(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(response(b"{}", "200 OK", "Connection: close"))
        await writer.drain()
        writer.close()

    with answering(once) as address:
        load = loaded(closed_loop, address, connections=2)
    assert len(load.answers) > 2
    assert {answer.status for answer in load.answers} == {200}


def test_a_refused_connection_is_an_error() -> None:
    load = loaded(closed_loop, ("127.0.0.1", free_port()), connections=2)
    assert {answer.status for answer in load.answers} == {0}


def test_what_is_no_http_is_an_error() -> None:
    async def noise(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(b"good morning\r\n\r\n")

    with answering(noise) as address:
        load = loaded(closed_loop, address, connections=1)
    assert {answer.status for answer in load.answers} == {0}


def test_a_closed_loop_has_an_answer_on_every_connection_before_it_is_timed() -> None:
    """A server that takes 10 texts of 40 waiting at a time has the later ones wait longest."""
    seen: set[int] = set()

    async def in_turn(number: int, writer: asyncio.StreamWriter) -> None:
        seen.add(number)
        await asyncio.sleep(0.01 * (number + 1) if number < 40 else 0.4)
        writer.write(GOOD)

    with answering(in_turn) as address:
        load = loaded(closed_loop, address, connections=40, seconds=0.1)
    assert min(answer.seconds for answer in load.answers) >= 0.35, "the first 40 were timed"


def test_a_closed_loop_leaves_nothing_under_way() -> None:
    under_way = 0

    async def slow(_: int, writer: asyncio.StreamWriter) -> None:
        nonlocal under_way
        under_way += 1
        await asyncio.sleep(0.15)
        under_way -= 1
        writer.write(GOOD)

    with answering(slow) as address:
        loaded(closed_loop, address, connections=4, seconds=0.2)
        assert under_way == 0


def test_an_open_loop_sends_at_its_rate_whatever_the_server_does() -> None:
    async def slow(_: int, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        writer.write(GOOD)

    with answering(slow) as address:
        load = loaded(open_loop, address, rate=200.0, seconds=1.0)
    # Poisson: 200 give or take 14; one connection alone would have had 10.
    assert 140 < len(load.answers) < 260


def test_a_stall_shows_in_every_request_that_it_held_up() -> None:
    """Nothing is answered for half a second: those that were due meanwhile waited for the rest of
    it, also those that found no free connection."""
    stall_until = math.inf

    async def stalling(number: int, writer: asyncio.StreamWriter) -> None:
        nonlocal stall_until
        if number == 20:
            stall_until = time.monotonic() + 0.5
        if number >= 20:
            await asyncio.sleep(max(0.0, stall_until - time.monotonic()))
        writer.write(GOOD)

    with answering(stalling) as address:
        load = loaded(open_loop, address, rate=200.0, seconds=1.0, connections=4)
    held_up = [answer.seconds for answer in load.answers if answer.seconds > 0.05]
    # About 100 were due in that half second, evenly: a closed client would have seen 4.
    assert 50 < len(held_up) < 150
    assert 0.2 < sum(held_up) / len(held_up) < 0.35
    assert {answer.status for answer in load.answers} == {200}


def test_what_never_comes_counts_as_late_as_it_is() -> None:
    async def never(_: int, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    with answering(never) as address:
        load = loaded(open_loop, address, rate=50.0, connections=2, patience=0.3)
    assert len(load.answers) > 5, "only those with a connection were counted"
    assert {answer.status for answer in load.answers} == {0}
    assert all(answer.seconds >= 0.3 for answer in load.answers)
