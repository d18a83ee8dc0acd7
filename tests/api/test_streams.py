import csv
import io
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from sentiment_k8s.migrations import upgrade
from sentiment_k8s.postgres import EmbeddedPostgres
from tests.postgres_fixtures import execute, fetch, run
from tests.serving import RunningServer, running_server

CSV, NDJSON = {"Accept": "text/csv"}, {"Accept": "application/x-ndjson"}
ROWS, TEXT_BYTES = 5_000, 8192


def fill(dsn: str) -> None:
    """Put rows of 40 MB into the log."""
    many = (
        "INSERT INTO predictions (created_at, text) SELECT now() - n * interval '1 second',"
        f" n || repeat(' ', {TEXT_BYTES}) FROM generate_series(1, {ROWS}) AS n"
    )
    run(execute(dsn, many))


@pytest.fixture(scope="module")
def full_dsn(new_database: Callable[[str], str], migrated: str) -> str:
    """A log that is larger than what sockets hold."""
    dsn = new_database(migrated)
    fill(dsn)
    return dsn


@pytest.fixture(scope="module")
def full(full_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Its server."""
    with running_server(tmp_path_factory.mktemp("full"), DATABASE_URL=full_dsn) as server:
        yield server


def test_csv_and_json_lines_have_all_rows_that_pass_the_filters(client: httpx.Client) -> None:
    client.post("/predict", json={"texts": [f'giraffe "{n}",\n' for n in range(7)]})
    page = client.get("/predictions?text=giraffe").json()["predictions"]
    answer = client.get("/predictions?text=giraffe", headers=NDJSON)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in answer.text.splitlines()] == page
    answer = client.get("/predictions?text=giraffe", headers=CSV)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["vary"] == "Accept"
    rows = csv.DictReader(io.StringIO(answer.text, newline=""))
    assert [row["text"] for row in rows] == [row["text"] for row in page]


def test_limit_and_cursor_bound_a_stream(client: httpx.Client) -> None:
    client.post("/predict", json={"texts": [f"okapi {n}" for n in range(5)]})
    page = client.get("/predictions?text=okapi&limit=2").json()
    rest = {"text": "okapi", "limit": "2", "cursor": page["next"]}
    lines = client.get("/predictions", params=rest, headers=NDJSON).text.splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["okapi 2", "okapi 1"]


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("image/png", "application/json"),
        ("application/json, text/csv;q=0.9", "application/json"),
        ("text/csv, application/json;q=0.9", "text/csv"),
        ("TEXT/CSV", "text/csv"),
        ("text/*", "text/csv"),
        ("text/csv;q=x, application/x-ndjson;q=0.1", "application/x-ndjson"),
        ("", "application/json"),
    ],
)
def test_the_format_is_what_accept_prefers_and_json_otherwise(
    client: httpx.Client, accept: str, answered: str
) -> None:
    answer = client.get("/predictions?limit=1", headers={"Accept": accept})
    assert answer.headers["content-type"].partition(";")[0] == answered


@pytest.mark.parametrize("query", ["cursor=rubbish", "text=%00", "limit=0"])
def test_what_is_wrong_with_a_request_shows_in_its_status(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/predictions?{query}", headers=CSV)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"


def most_memory(server: RunningServer) -> int:
    """The most that the server has had in memory so far, in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    [kilobytes] = re.findall(r"VmHWM:\s*(\d+) kB", status)
    return int(kilobytes) * 1024


def test_a_stream_of_many_rows_takes_little_memory(full: RunningServer) -> None:
    httpx.get(f"{full.url}/predictions?limit=50")
    before = most_memory(full)
    lines = size = 0
    with httpx.stream("GET", f"{full.url}/predictions", headers=NDJSON, timeout=60) as answer:
        for line in answer.iter_lines():
            lines += 1
            size += len(line)
    assert lines == ROWS
    assert size > 40_000_000
    assert most_memory(full) - before < 20_000_000


def test_clients_that_stop_reading_hold_no_connection(full: RunningServer, full_dsn: str) -> None:
    with ExitStack() as stack:
        for _ in range(5):  # more than there are connections for readers
            client = stack.enter_context(socket.create_connection(("127.0.0.1", full.port)))
            client.sendall(b"GET /predictions HTTP/1.1\r\nHost: localhost\r\n")
            client.sendall(b"Accept: application/x-ndjson\r\n\r\n")
            assert client.recv(15) == b"HTTP/1.1 200 OK"
        for _ in range(5):
            assert httpx.get(f"{full.url}/predictions?limit=1").is_success
        busy = "SELECT FROM pg_stat_activity WHERE application_name = 'sentiment'"
        busy += " AND state <> 'idle' AND datname = current_database()"
        deadline = time.monotonic() + 30
        while run(fetch(full_dsn, busy)):  # until what sockets hold is full
            assert time.monotonic() < deadline


def test_more_streams_than_there_is_room_for_are_told_to_come_again(full: RunningServer) -> None:
    with ExitStack() as stack:
        url = f"{full.url}/predictions"
        client = stack.enter_context(httpx.Client(timeout=30))
        for _ in range(16):
            stack.enter_context(client.stream("GET", url, headers=CSV))
        answer = client.get(url, headers=CSV)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
        assert client.get(url).is_success
    with httpx.stream("GET", url, headers=CSV) as answer:
        assert answer.is_success


def test_when_postgresql_is_lost_in_the_middle_the_answer_is_visibly_broken(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    dsn = postgres.start()
    run(upgrade(dsn))
    fill(dsn)

    def read(url: str) -> None:
        with httpx.stream("GET", url, headers=NDJSON, timeout=30) as answer:
            lines = answer.iter_lines()
            assert json.loads(next(lines))["text"].strip() == "1"
            postgres.stop()
            for line in lines:
                json.loads(line)

    with running_server(tmp_path, DATABASE_URL=dsn) as server:
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
            read(f"{server.url}/predictions")
        assert httpx.get(f"{server.url}/predictions", headers=NDJSON).status_code == 503
