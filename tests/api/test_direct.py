"""Plain requests that classify go to their handlers without a framework; nobody can tell."""

import asyncio
import json
import logging
import socket
import time
from http.client import HTTPResponse
from pathlib import Path

import pytest

from sentiment_k8s.api.classifier import Classifier
from sentiment_k8s.api.direct import Direct, Head
from sentiment_k8s.records import PredictionRow
from sentiment_k8s.service import Service
from sentiment_k8s.settings import Settings
from sentiment_k8s.testing import example_row

from ..serving import RunningServer, running_server
from ..test_app import BrokenService
from ..test_protocol import metric, request_of, statuses_in

POST = Head(b"POST", b"/predict", [(b"host", b"a"), (b"content-length", b"16")])
BODY = b'{"text": "good"}'


def direct_of(service: Service) -> Direct:
    return Direct(service, Classifier(service))


def parts_of(whole: bytes) -> tuple[str, dict[str, str], bytes]:
    """Status line, headers and body of an answer."""
    head, _, body = whole.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return status, dict(line.split(": ", 1) for line in lines), body


def answer_to(
    server: RunningServer, *packets: bytes, pause: float = 0.0
) -> tuple[HTTPResponse, bytes]:
    """The answer to a request that is sent in so many packets, and its body."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(20)
        for packet in packets:
            connection.sendall(packet)
            time.sleep(pause)
        answer = HTTPResponse(connection)
        answer.begin()
        return answer, answer.read()


@pytest.mark.parametrize("body", [BODY, b'{"texts": ["a", "b"]}', b'{"inputs": "a"}', b"no JSON"])
def test_the_answer_is_that_of_the_usual_way(server: RunningServer, body: bytes) -> None:
    direct, one = answer_to(server, request_of(body))
    usual, other = answer_to(server, request_of(body, b"Connection: close"))
    names = [[name.lower() for name, _ in answer.getheaders()] for answer in (direct, usual)]
    assert sorted([*names[0], "connection"]) == sorted(names[1])
    assert direct.status == usual.status
    assert shape_of(json.loads(one)) == shape_of(json.loads(other))


def shape_of(answer: object) -> object:
    """Names and types, without the values."""
    if isinstance(answer, dict):
        return {name: shape_of(value) for name, value in answer.items()}
    if isinstance(answer, list):
        return [shape_of(value) for value in answer]
    return type(answer)


def test_the_body_may_come_behind_the_head(server: RunningServer) -> None:
    head = request_of(BODY).removesuffix(BODY)
    answer, _ = answer_to(server, head, BODY, pause=0.01)
    assert answer.status == 200


def test_a_body_that_is_late_goes_the_usual_way(server: RunningServer) -> None:
    request = request_of(BODY)
    answer, _ = answer_to(server, request[:-5], request[-5:], pause=0.2)
    assert answer.status == 200


def test_requests_that_come_together_are_answered_in_order(server: RunningServer) -> None:
    last = b"GET /predict?text=bad HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(20)
        connection.sendall(request_of(BODY) + request_of(b"{}") + request_of(BODY) + last)
        answers = b""
        while part := connection.recv(65536):
            answers += part
    assert statuses_in(answers) == [200, 400, 200, 200]


def test_a_client_that_hangs_up_costs_nothing_more(data_dir: Path) -> None:
    body = json.dumps({"texts": ["a long text " * 20] * 250}).encode()[: 64 * 1024]
    with running_server(data_dir, SENTIMENT_RECORD="off", SENTIMENT_THREADS="1") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(request_of(body))
            until = time.monotonic() + 20
            while not metric(server, "sentiment_tokens_in_flight"):
                assert time.monotonic() < until
        gone = 'sentiment_requests_total{route="/predict",status="499"}'
        while not metric(server, gone):
            assert time.monotonic() < until
        assert metric(server, "sentiment_tokens_in_flight") == 0
        assert metric(server, 'sentiment_predictions_total{label="POSITIVE"}') == 0


def test_after_too_much_the_connection_is_closed(server: RunningServer) -> None:
    texts = json.dumps({"texts": ["a"] * 300}).encode()
    answer, _ = answer_to(server, request_of(texts))
    assert (answer.status, answer.getheader("connection")) == (413, "close")


def test_what_is_not_plain_or_does_not_classify_is_not_taken() -> None:
    service = Service(Settings(record="off"))
    direct = direct_of(service)
    assert not direct.takes(POST)  # it has not started
    service.ready = True
    assert direct.takes(POST)
    assert direct.takes(Head(b"GET", b"/predict?text=a", []))
    for head in (
        Head(b"GET", b"/", []),
        Head(b"GET", b"/predict?text=a#b", []),
        Head(b"GET", b"/pr%65dict?text=a", []),
        Head(b"PUT", b"/predict", []),
        Head(b"GET", b"/health", []),
        Head(b"GET", b"/predict?text=" + b"a" * 65_535, []),
        Head(b"POST", b"/predict", [(b"content-length", b"70000")]),
        Head(b"POST", b"/predict", [(b"content-length", b"-1")]),
        Head(b"POST", b"/predict", [(b"transfer-encoding", b"chunked")]),
        Head(b"POST", b"/predict", [(b"expect", b"100-continue")]),
        Head(b"POST", b"/predict", [(b"idempotency-key", b"k")]),
    ):
        assert not direct.takes(head), head


def test_a_body_is_never_larger_than_allowed() -> None:
    service = Service(Settings(record="off", max_body_bytes=15))
    service.ready = True
    assert not direct_of(service).takes(POST)


async def test_bodies_count_among_those_that_the_framework_reads() -> None:
    service = WaitingService(Settings(record="off", max_body_bytes=16))
    service.waiting = WaitingPipeline()
    service.waiting.told.set()
    service.ready = True
    classifier = Classifier(service)
    direct = Direct(service, classifier)
    statuses = []
    for held in (31 * 16, 31 * 16 + 1):
        classifier.bodies.hold(held)
        whole = await direct.answer(POST, BODY, [], gone=lambda: False)
        classifier.bodies.release(held)
        statuses.append(parts_of(whole.content)[0])
    assert statuses == ["HTTP/1.1 200 OK", "HTTP/1.1 429 Too Many Requests"]


def test_a_url_that_cannot_be_split_is_no_request(server: RunningServer) -> None:
    """Neither as a whole nor where its body never comes."""
    head = (
        b"POST /predict?x=" + b"a" * 66_000 + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 16\r\n\r\n"
    )
    for packets in ([head + BODY], [head[:60_000], head[60_000:]]):
        answer, _ = answer_to(server, *packets, pause=0.05)
        assert (answer.status, answer.getheader("connection")) == (400, "close")


async def test_a_fault_of_the_server_is_a_500_that_tells_no_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = BrokenService(Settings(record="off", access_log="all"))
    service.ready = True
    with caplog.at_level(logging.INFO):
        whole = await direct_of(service).answer(
            POST, b'{"text": "secret"}', [(b"date", b"today")], gone=lambda: False
        )
    status, headers, body = parts_of(whole.content)
    assert status == "HTTP/1.1 500 Internal Server Error"
    assert json.loads(body)["error_type"] == "internal"
    assert headers["date"] == "today"
    assert headers["x-sentiment-recorded"] == "off"
    said = [record for record in caplog.records if record.name.startswith("sentiment_k8s")]
    assert {record.request_id for record in said} == {  # type: ignore[attr-defined]
        headers["x-request-id"]
    }
    assert [record.getMessage() for record in said][1:] == ["POST /predict 500"]
    assert "secret" not in caplog.text + body.decode()


class WaitingPipeline:
    """Answers only when it is told to."""

    model = None

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.told = asyncio.Event()

    async def classify(self, texts: list[str], **_: object) -> list[PredictionRow]:
        self.asked.set()
        await self.told.wait()
        return [example_row() for _ in texts]


class WaitingService(Service):
    """A service whose answers wait."""

    waiting: WaitingPipeline

    @property
    def pipeline(self) -> WaitingPipeline:  # type: ignore[override]
        return self.waiting


@pytest.mark.parametrize("gone", [False, True])
async def test_a_request_that_the_shutdown_cuts_is_told_so_and_one_whose_client_has_gone_is_not(
    gone: bool,
) -> None:
    service = WaitingService(Settings(record="off"))
    service.waiting = WaitingPipeline()
    service.ready = True
    answering = asyncio.create_task(direct_of(service).answer(POST, BODY, [], gone=lambda: gone))
    await service.waiting.asked.wait()
    service.ready = False
    answering.cancel()
    if gone:
        with pytest.raises(asyncio.CancelledError):
            await answering
        return
    whole = await answering
    assert whole.closes
    status, headers, _ = parts_of(whole.content)
    assert (status, headers["connection"]) == ("HTTP/1.1 503 Service Unavailable", "close")
