import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from sentiment_k8s.postgres import EmbeddedPostgres
from sentiment_k8s.schemas import ErrorBody

from ..serving import RunningServer, running_server

TENSOR = {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["I love AI!", "awful"]}
BODY = {"texts": ["I love AI!", "a waste of time"], "top_k": 2}


def keyed(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


def is_replay(response: httpx.Response) -> bool:
    assert response.status_code == 200, response.text
    return "Idempotency-Replayed" in response.headers


def refused(response: httpx.Response, status: int) -> str:
    """Check the one error shape and return its type."""
    assert response.status_code == status, response.text
    return ErrorBody.model_validate_json(response.content).error_type


def counted(client: httpx.Client, name: str) -> float:
    """A counter, as the server shows it."""
    lines = client.get("/metrics").text.splitlines()
    [line] = [line for line in lines if line.startswith(f"sentiment_{name}_total ")]
    return float(line.split()[1])


def test_a_request_sent_again_is_answered_the_same_to_the_byte(client: httpx.Client) -> None:
    before = counted(client, "rows")
    first = client.post("/predict", json=BODY, headers=keyed("same"))
    again = client.post("/predict", json=BODY, headers=keyed("same"))
    assert (is_replay(first), is_replay(again)) == (False, True)
    assert again.content == first.content
    assert counted(client, "rows") == before + 2


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/predict", {"text": "I love AI!"}),
        ("/predict", {"inputs": "I love AI!"}),
        ("/predict", {"inputs": [["I love AI!"], ["awful"]]}),
        ("/predict", {"inputs": "I love AI!", "parameters": {"top_k": 1}}),
        ("/", {"inputs": ["I love AI!", "awful"]}),
        ("/v2/models/bundled/infer", {"inputs": [TENSOR]}),
    ],
)
def test_every_form_of_a_request_takes_a_key(
    client: httpx.Client, path: str, body: dict[str, object]
) -> None:
    key = keyed(f"form-{path}-{json.dumps(body)}".replace(" ", ""))
    first = client.post(path, json=body, headers=key)
    again = client.post(path, json=body, headers=key)
    assert (is_replay(first), is_replay(again)) == (False, True)
    assert again.content == first.content


def test_the_books_call_takes_a_key_too(client: httpx.Client) -> None:
    first = client.get("/predict", params={"text": "I love AI!"}, headers=keyed("get"))
    again = client.get("/predict", params={"text": "I love AI!"}, headers=keyed("get"))
    other = client.get("/predict", params={"text": "awful"}, headers=keyed("get"))
    assert (again.content, is_replay(again)) == (first.content, True)
    assert refused(other, 422) == "key_reused"


@pytest.mark.parametrize("path", ["/predict", "/"])
def test_a_key_with_another_body_or_route_is_refused(client: httpx.Client, path: str) -> None:
    client.post("/predict", json=BODY, headers=keyed("reused"))
    other = client.post(path, json={"inputs": "I love AI!"}, headers=keyed("reused"))
    assert refused(other, 422) == "key_reused"


@pytest.mark.parametrize("key", ["", "two words", "x" * 256])
def test_a_malformed_key_is_refused(client: httpx.Client, key: str) -> None:
    assert refused(client.post("/predict", json=BODY, headers=keyed(key)), 400) == "bad_request"


def test_two_keys_in_one_request_are_refused(client: httpx.Client) -> None:
    twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    assert refused(client.post("/predict", json=BODY, headers=twice), 400) == "bad_request"


def test_a_request_that_was_refused_leaves_its_key_free(client: httpx.Client) -> None:
    refused(client.post("/predict", json={"text": " "}, headers=keyed("blank")), 400)
    assert not is_replay(client.post("/predict", json=BODY, headers=keyed("blank")))


def test_fifty_at_once_make_one_row(client: httpx.Client) -> None:
    before = counted(client, "rows"), counted(client, "replays")

    def send(_: int) -> httpx.Response:
        return client.post("/predict", json={"text": "at once"}, headers=keyed("fifty"))

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(send, range(50)))
    assert sorted(map(is_replay, answers)) == [False] + [True] * 49
    assert len({answer.content for answer in answers}) == 1
    after = counted(client, "rows"), counted(client, "replays")
    assert after == (before[0] + 1, before[1] + 49)


def test_a_client_that_hangs_up_and_asks_again_gets_one_row(
    client: httpx.Client, server: RunningServer
) -> None:
    before = counted(client, "rows")
    for number in range(20):
        key = f"hang-up-{number}"
        request = client.build_request("POST", "/predict", json=BODY, headers=keyed(key))
        lines = [f"POST /predict HTTP/1.1\r\nHost: here\r\nIdempotency-Key: {key}\r\n"]
        lines.append(f"Content-Length: {len(request.content)}\r\n\r\n")
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall("".join(lines).encode() + request.content)
        assert client.send(request).status_code == 200
    assert counted(client, "rows") == before + 40


def test_the_api_document_names_the_header(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for operation in (paths["/predict"]["get"], paths["/predict"]["post"]):
        assert "Idempotency-Key" in [parameter["name"] for parameter in operation["parameters"]]
        assert {"422", "503"} <= set(operation["responses"])


def test_a_restarted_server_answers_as_before_and_refuses_while_postgresql_is_away(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    url = postgres.start()
    with running_server(tmp_path, DATABASE_URL=url) as server:
        first = httpx.post(f"{server.url}/predict", json=BODY, headers=keyed("restart"))
    with (
        running_server(tmp_path, DATABASE_URL=url) as server,
        httpx.Client(base_url=server.url, timeout=30) as client,
    ):
        again = client.post("/predict", json=BODY, headers=keyed("restart"))
        assert (again.content, is_replay(again)) == (first.content, True)

        postgres.stop()
        started = time.monotonic()
        away = client.post("/predict", json=BODY, headers=keyed("restart"))
        assert refused(away, 503) == "database_unavailable"
        assert int(away.headers["Retry-After"]) >= 1
        assert time.monotonic() - started < 10  # the deadline is 30
        assert client.post("/predict", json=BODY).status_code == 200  # without a key: the spool

        postgres.start()
        back = client.post("/predict", json=BODY, headers=keyed("restart"))
        assert (back.content, is_replay(back)) == (first.content, True)


def test_where_nothing_is_recorded_a_key_means_nothing(tmp_path: Path) -> None:
    with running_server(tmp_path, "--record", "off") as server:
        for _ in range(2):
            answer = httpx.post(f"{server.url}/predict", json=BODY, headers=keyed("off"))
            assert not is_replay(answer)
            assert answer.headers["X-Sentiment-Recorded"] == "off"
