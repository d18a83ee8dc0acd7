"""Each protocol against a real server that speaks it: ours, which speaks most of them. What others
answer is as they were seen to answer (versions in bench/peers/*/requirements.txt)."""

import json
import socket
from http.client import HTTPResponse

import httpx
import pytest

from bench.servers import Listening, NotStarted, answers
from bench.wire import OURS, SEED, TEI, Scored, Wire, infinity, listed, named, v2

from ..serving import RunningServer

GOOD, BAD = "a film worth every minute of it", 'it\'s a dull "mess" & 100% tedious, señor'
SPOKEN = [OURS, TEI, v2("bundled")]


def asked(server: RunningServer, wire: Wire, *texts: str) -> list[Scored]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as stream:
        stream.sendall(wire.request(texts))
        response = HTTPResponse(stream)
        response.begin()
        assert response.status == 200
        assert not response.will_close, "the connection stays open"
        return wire.labels(response.read())


@pytest.mark.parametrize("wire", [*SPOKEN, SEED], ids=lambda wire: wire.name)
def test_one_text_has_its_label(server: RunningServer, wire: Wire) -> None:
    assert [one.label for one in asked(server, wire, GOOD)] == ["POSITIVE"]
    [scored] = asked(server, wire, BAD)
    assert scored.label == "NEGATIVE"
    assert 0.5 < scored.score <= 1


@pytest.mark.parametrize("wire", SPOKEN, ids=lambda wire: wire.name)
def test_several_texts_have_theirs_in_order(server: RunningServer, wire: Wire) -> None:
    for texts in ([GOOD, BAD], [BAD, GOOD, GOOD]):
        labels = [one.label for one in asked(server, wire, *texts)]
        assert labels == ["POSITIVE" if text == GOOD else "NEGATIVE" for text in texts]


@pytest.mark.parametrize("wire", [*SPOKEN, SEED], ids=lambda wire: wire.name)
def test_the_server_takes_the_text_as_it_is(
    server: RunningServer, client: httpx.Client, wire: Wire
) -> None:
    asked(server, wire, BAD)
    [row] = client.get("/predictions", params={"limit": 1}).json()["predictions"]
    assert row["text"] == BAD


def test_the_books_call_has_one_text() -> None:
    assert not SEED.batches
    with pytest.raises(ValueError, match="unpack"):
        SEED.request([GOOD, BAD])


@pytest.mark.parametrize(
    ("wire", "answer"),
    [
        (
            v2("model", "array_inputs"),  # mlserver-huggingface
            {
                "model_name": "model",
                "outputs": [
                    {
                        "name": "output",
                        "shape": [2, 1],
                        "datatype": "BYTES",
                        "data": [
                            '{"label": "POSITIVE", "score": 0.96}',
                            '{"label": "NEGATIVE", "score": 0.95}',
                        ],
                    }
                ],
            },
        ),
        (
            infinity("model"),
            {
                "object": "classify",
                "data": [
                    [
                        {"score": 0.96, "label": "POSITIVE"},
                        {"score": 0.04, "label": "NEGATIVE"},
                    ],
                    [
                        {"score": 0.05, "label": "POSITIVE"},
                        {"score": 0.95, "label": "NEGATIVE"},
                    ],
                ],
            },
        ),
        (
            listed("/classify"),
            [{"label": "POSITIVE", "score": 0.96}, {"label": "NEGATIVE", "score": 0.95}],
        ),
    ],
    ids=["mlserver", "infinity", "listed"],
)
def test_what_others_answer_is_read(wire: Wire, answer: object) -> None:
    read = wire.labels(json.dumps(answer).encode())
    assert read == [("POSITIVE", 0.96), ("NEGATIVE", 0.95)]


@pytest.mark.parametrize("wire", [*SPOKEN, SEED, infinity("m")], ids=lambda wire: wire.name)
@pytest.mark.parametrize("body", [b'{"error": "too many clients"}', b"Bad Gateway", b"[]", b"{}"])
def test_what_is_no_answer_says_so(wire: Wire, body: bytes) -> None:
    with pytest.raises(ValueError, match="not an answer"):
        wire.labels(body)


def test_a_protocol_is_named_with_what_it_takes() -> None:
    assert named("v2:bundled").path == "/v2/models/bundled/infer"
    assert named("tei").path == "/predict"
    for wrong in ("grpc", "v2", "seed:a:b:c"):
        with pytest.raises(ValueError, match="is no protocol"):
            named(wrong)


def test_a_server_that_listens_is_ready_when_it_classifies(server: RunningServer) -> None:
    address = ("127.0.0.1", server.port)
    assert answers(address, "/health")
    assert not answers(address, "/nowhere")
    assert Listening(address, TEI).start().alive()
    with pytest.raises(NotStarted, match="does not answer as it should"):
        Listening(address, infinity("model")).start()
