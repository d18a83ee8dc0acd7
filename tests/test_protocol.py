"""Connections to a server in a process of its own: slow, silent, greedy and rude clients."""

import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path

import httpx
import pytest

from .serving import RunningServer, answer_of, one_answer_of, running_server

MORE_THAN_THE_KERNEL_BUFFERS = "good" + " " * 12_000_000


def test_a_half_sent_head_is_closed_after_its_time(data_dir: Path) -> None:
    with running_server(data_dir, SENTIMENT_BODY_TIMEOUT_SECONDS="0.3") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"GET /predict?text=a HTTP/1.1\r\nHost:")
            assert answer_of(connection) == b""


def test_a_connection_opened_ahead_of_need_is_kept_longer_than_a_head_may_take(
    data_dir: Path,
) -> None:
    variables = {"SENTIMENT_BODY_TIMEOUT_SECONDS": "0.3", "SENTIMENT_KEEP_ALIVE_SECONDS": "2"}
    with running_server(data_dir, **variables) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            opened = time.monotonic()
            assert answer_of(connection) == b""
            assert time.monotonic() - opened > 1.5


def test_a_half_sent_body_is_408_after_its_time(data_dir: Path) -> None:
    with running_server(data_dir, SENTIMENT_BODY_TIMEOUT_SECONDS="0.3") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
            connection.sendall(head + b'{"text": ')
            answer = answer_of(connection)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"body_timeout"' in answer


def test_an_empty_line_after_an_answer_does_not_keep_the_connection_open(data_dir: Path) -> None:
    with running_server(data_dir, SENTIMENT_BODY_TIMEOUT_SECONDS="0.3") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            assert one_answer_of(connection).status == 200
            connection.sendall(b"\r\n")
            assert answer_of(connection) == b""


def test_a_body_that_trickles_in_after_its_answer_is_closed_after_its_time(data_dir: Path) -> None:
    with running_server(data_dir, SENTIMENT_BODY_TIMEOUT_SECONDS="0.3") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
            assert one_answer_of(connection).status == 404
            connection.sendall(b"1")
            assert answer_of(connection) == b""


def test_an_error_that_came_before_the_body_leaves_the_connection_usable(
    server: RunningServer,
) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        assert one_answer_of(connection).status == 404
        connection.sendall(b"123456789GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        assert one_answer_of(connection).status == 200


@pytest.mark.parametrize("header", ["Connection: keep-alive", "Connection: close"])
def test_a_client_that_does_not_read_its_answer_is_given_up(data_dir: Path, header: str) -> None:
    limits = {
        "SENTIMENT_MAX_CONNECTIONS": "1",
        "SENTIMENT_KEEP_ALIVE_SECONDS": "1",
        "SENTIMENT_MAX_BODY_BYTES": str(2 * len(MORE_THAN_THE_KERNEL_BUFFERS)),
    }
    with running_server(data_dir, **limits) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            body = json.dumps({"text": MORE_THAN_THE_KERNEL_BUFFERS}).encode()
            head = f"POST /predict HTTP/1.1\r\nContent-Length: {len(body)}\r\n{header}\r\n\r\n"
            connection.sendall(head.encode() + body)
            wait_until_another_is_served(server)


def test_a_client_that_asks_on_and_on_without_reading_is_given_up(data_dir: Path) -> None:
    limits = {"SENTIMENT_MAX_CONNECTIONS": "1", "SENTIMENT_KEEP_ALIVE_SECONDS": "1"}
    with running_server(data_dir, **limits) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 2000)
            wait_until_another_is_served(server)


def test_half_sent_bodies_are_bounded_over_all_connections(data_dir: Path) -> None:
    with running_server(data_dir, SENTIMENT_MAX_BODY_BYTES="60000") as server:
        head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n"
        slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
        for connection in slow:
            connection.sendall(head + b"a" * 59_000)
        refused, _, _ = select.select(slow, [], [], 20)
        assert refused[0].recv(100).startswith(b"HTTP/1.1 429 ")
        assert httpx.get(f"{server.url}/predict", params={"text": "still served"}).is_success
        for connection in slow:
            connection.close()


def test_more_connections_than_allowed_are_closed_and_the_rest_served(data_dir: Path) -> None:
    with running_server(data_dir, SENTIMENT_MAX_CONNECTIONS="20") as server:
        kept = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
        wait_until_connections(kept[0], server)
        with socket.create_connection(("127.0.0.1", server.port)) as one_more:
            assert is_closed_by_the_server(one_more)
        kept[1].sendall(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer_of(kept[1]).startswith(b"HTTP/1.1 200 ")
        for connection in kept:
            connection.close()


def test_a_huge_head_is_refused_in_the_one_error_shape(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"GET /predict?text=" + b"a" * 65_000)
        connection.sendall(b"a" * 1_000)
        answer = answer_of(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"too_large"' in answer


def test_rubbish_is_refused_in_the_one_error_shape(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        answer = answer_of(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"bad_request"' in answer
    request_id = answer.partition(b"x-request-id: ")[2].partition(b"\r\n")[0].decode()
    until = time.monotonic() + 20
    while request_id not in [line.get("request_id") for line in server.log]:
        assert time.monotonic() < until, "it is not in the log"


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
def test_a_post_that_offers_another_protocol_is_answered_as_http_1_1(
    server: RunningServer, protocol: str
) -> None:
    logged = len(server.log)
    head = (
        f"POST /predict HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        f"Content-Length: 16\r\nUpgrade: {protocol}\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head + b'{"text": "good"}' + head)
        assert one_answer_of(connection).status == 200
        connection.sendall(b'{"text": "fine"}')
        assert one_answer_of(connection).status == 200
    assert server.log[logged:] == []


@pytest.mark.parametrize("body", [b"", b'{"text": "good"}'])
def test_an_offer_of_another_protocol_with_close_is_answered_and_closed(
    server: RunningServer, body: bytes
) -> None:
    head = b"POST /predict" if body else b"GET /predict?text=good"
    head += b" HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n"
    head += b"Content-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(5)
        connection.sendall(head + body)
        assert answer_of(connection).startswith(b"HTTP/1.1 200 ")
        assert is_closed_by_the_server(connection)


def test_a_server_is_no_proxy(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost:22\r\n\r\n")
        assert answer_of(connection).startswith(b"HTTP/1.1 400 ")


def is_closed_by_the_server(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def wait_until_connections(one: socket.socket, server: RunningServer) -> None:
    """Connections are counted in the order they were made: the last one's answer says all are."""
    one.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
    one.recv(1000)


def wait_until_another_is_served(server: RunningServer) -> None:
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        try:
            assert httpx.get(f"{server.url}/health/live").is_success
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("The one connection allowed is still held.")


# Refused by their heads

BUSY = json.dumps({"texts": ["good " * 2000] * 64}).encode()  # seconds of work, over any bound
SMALL = b'{"text": "good"}'
LAST = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def request_of(body: bytes, *headers: bytes, path: bytes = b"/predict") -> bytes:
    lines = [b"POST " + path + b" HTTP/1.1", b"Host: a", b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, *headers, b"", body])


@contextmanager
def full_server(data_dir: Path, **more: str) -> Iterator[RunningServer]:
    """A server whose bound on tokens in flight is reached, for some seconds."""
    bound = {"SENTIMENT_MAX_TOKENS_IN_FLIGHT": "512", "SENTIMENT_RECORD": "off"} | more
    with (
        running_server(data_dir, **bound) as server,
        socket.create_connection(("127.0.0.1", server.port)) as busy,
    ):
        busy.sendall(request_of(BUSY))
        until = time.monotonic() + 20
        while metric(server, "sentiment_tokens_in_flight") < 512:
            assert time.monotonic() < until
        yield server


def statuses_in(answers: bytes) -> list[int]:
    return [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]


def metric(server: RunningServer, sample: str) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return next((float(line.split()[1]) for line in lines if line.startswith(f"{sample} ")), 0.0)


def test_a_request_too_many_is_refused_and_its_connection_goes_on(data_dir: Path) -> None:
    with (
        full_server(data_dir) as server,
        socket.create_connection(("127.0.0.1", server.port)) as connection,
    ):
        for _ in range(2):
            connection.sendall(request_of(SMALL, b"X-Request-ID: mine-1"))
            connection.settimeout(20)
            answer = HTTPResponse(connection)
            answer.begin()
            assert (answer.status, answer.reason) == (429, "Too Many Requests")
            assert answer.headers["Retry-After"] == "1"
            assert answer.headers["X-Request-ID"] == "mine-1"
            assert answer.headers["X-Sentiment-Recorded"] == "off"
            assert json.loads(answer.read())["error_type"] == "overloaded"
        connection.sendall(b"GET /predict?text=good HTTP/1.1\r\nHost: a\r\n\r\n")
        assert one_answer_of(connection).status == 429
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        assert one_answer_of(connection).status == 200
        counted = 'sentiment_requests_total{route="/predict",status="429"}'
        assert metric(server, counted) == 3
        said = "Refused 3 requests: too many tokens are in flight."
        until = time.monotonic() + 20
        while said not in [line["message"] for line in server.log]:
            assert time.monotonic() < until, server.log


def test_the_body_of_a_refused_request_may_come_in_parts(data_dir: Path) -> None:
    with (
        full_server(data_dir) as server,
        socket.create_connection(("127.0.0.1", server.port)) as connection,
    ):
        request = request_of(SMALL)
        connection.sendall(request[:-5])
        time.sleep(0.05)  # a part by itself; nothing tells when it has arrived
        connection.sendall(request[-5:] + LAST)
        assert statuses_in(answer_of(connection)) == [429, 200]


def test_the_body_of_a_refused_request_that_never_comes_ends_the_connection(
    data_dir: Path,
) -> None:
    with (
        full_server(data_dir, SENTIMENT_BODY_TIMEOUT_SECONDS="0.3") as server,
        socket.create_connection(("127.0.0.1", server.port)) as connection,
    ):
        connection.sendall(request_of(SMALL)[:-5])
        assert answer_of(connection) == b""


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (request_of(SMALL, b"Idempotency-Key: k"), 429),  # one that is known would be answered
        (request_of(b"", path=b"/nowhere"), 404),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (request_of(SMALL, b"Connection: close"), 429),
        (request_of(b" " * 100_000), 400),  # larger than what is thrown away
        (
            b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"10\r\n" + SMALL + b"\r\n0\r\n\r\n",
            429,
        ),
    ],
    ids=["with a key", "of another route", "of the page", "the last", "large", "chunked"],
)
def test_what_is_not_small_and_plain_goes_the_usual_way(
    data_dir: Path, request_bytes: bytes, status: int
) -> None:
    with (
        full_server(data_dir) as server,
        socket.create_connection(("127.0.0.1", server.port)) as connection,
    ):
        connection.sendall(request_bytes)
        assert one_answer_of(connection).status == status
        refused = [line for line in server.log if str(line["message"]).startswith("Refused")]
        assert refused == []


def test_a_refused_request_waits_for_the_answer_of_the_one_before(data_dir: Path) -> None:
    with (
        full_server(data_dir) as server,
        socket.create_connection(("127.0.0.1", server.port)) as connection,
    ):
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n" + request_of(SMALL) + LAST)
        assert statuses_in(answer_of(connection)) == [200, 429, 200]
