"""The server while its PostgreSQL is away, hung, or late."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from sentiment_k8s.postgres import EmbeddedPostgres
from sentiment_k8s.schemas import ErrorBody

from .postgres_fixtures import execute, fetch
from .serving import RunningServer, running_server

# What is left in the spool is not waited for at the end of a test.
SOON = {"SENTIMENT_SHUTDOWN_TIMEOUT_SECONDS": "1"}


@pytest.fixture
def server_beside(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[RunningServer]:
    """A server whose PostgreSQL is another's, as on Kubernetes."""
    with running_server(tmp_path, DATABASE_URL=postgres.start(), **SOON) as server:
        yield server


@pytest.fixture
def strict_server(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[RunningServer]:
    """The same without a spool."""
    with running_server(
        tmp_path, "--spool", "strict", DATABASE_URL=postgres.start(), **SOON
    ) as server:
        yield server


def predict(server: RunningServer, text: str) -> httpx.Response:
    return httpx.get(f"{server.url}/predict", params={"text": text}, timeout=20)


def answered(server: RunningServer, *texts: str) -> list[str]:
    """The ids of the answers, none of which failed."""
    answers = [predict(server, text) for text in texts]
    assert {answer.status_code for answer in answers} == {200}, answers[0].text
    return [answer.json()["id"] for answer in answers]


def record_health(server: RunningServer) -> dict[str, Any]:
    health = httpx.get(f"{server.url}/health", timeout=20).json()
    assert health["status"] == "healthy"
    assert httpx.get(f"{server.url}/health/ready", timeout=20).is_success
    record: dict[str, Any] = health["record"]
    return record


def wait_for(what: Callable[[], object]) -> None:
    give_up = time.monotonic() + 40
    while not what():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def wait_until_drained(server: RunningServer) -> None:
    wait_for(lambda: record_health(server)["spool"]["rows"] == 0)


def ids_in(postgres: EmbeddedPostgres) -> Counter[str]:
    rows = asyncio.run(fetch(postgres.start(), "SELECT id::text FROM predictions"))
    return Counter(row["id"] for row in rows)


def assert_nothing_is_claimed(
    response: httpx.Response, error_type: str = "database_unavailable"
) -> None:
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert ErrorBody.model_validate_json(response.content).error_type == error_type


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


@contextmanager
def hung(postgres: EmbeddedPostgres) -> Iterator[None]:
    """It accepts connections, as the kernel does for it, and never says a word."""
    assert postgres.pid is not None
    processes = [postgres.pid, *children_of(postgres.pid)]
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)


# With a spool


def test_while_postgresql_is_away_answers_go_on_and_are_in_the_log_once_it_is_back(
    postgres: EmbeddedPostgres, server_beside: RunningServer
) -> None:
    ids = answered(server_beside, "before")
    postgres.stop()
    ids += answered(server_beside, "meanwhile", "and more")
    record = record_health(server_beside)
    assert (record["mode"], record["available"]) == ("postgresql", False)
    assert (record["spool"]["rows"], record["spool"]["writable"]) == (2, True)
    assert record["spool"]["oldest"]
    postgres.start()
    wait_until_drained(server_beside)
    ids += answered(server_beside, "after")
    assert record_health(server_beside)["available"]
    assert ids_in(postgres) == Counter(ids)


def test_a_hung_postgresql_is_found_within_a_second_and_fails_nobody(
    postgres: EmbeddedPostgres, server_beside: RunningServer
) -> None:
    ids: list[str] = []
    slowest = 0.0
    asking = True

    def ask() -> None:
        nonlocal slowest
        with httpx.Client(base_url=server_beside.url, timeout=10) as client:
            while asking:
                began = time.monotonic()
                answer = client.get("/predict", params={"text": "in a stream"})
                slowest = max(slowest, time.monotonic() - began)
                ids.append(answer.json()["id"])

    def wait_for_more(number: int) -> None:
        enough = len(ids) + number
        wait_for(lambda: len(ids) >= enough)

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(ask) for _ in range(4)]
        wait_for_more(20)
        with hung(postgres):
            wait_for_more(100)
            assert not record_health(server_beside)["available"]
        wait_for(lambda: record_health(server_beside)["available"])
        wait_for_more(20)
        asking = False
        for client in clients:
            client.result()
    assert slowest < 2  # 0.8 of waiting for PostgreSQL, and a busy machine
    wait_until_drained(server_beside)
    assert ids_in(postgres) == Counter(ids)


def test_what_a_killed_server_had_in_its_spool_is_in_the_log_after_the_next_start(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    dsn = postgres.start()
    with running_server(tmp_path, DATABASE_URL=dsn) as server:
        ids = answered(server, "before")
        postgres.stop()
        ids += answered(server, *(f"meanwhile {number}" for number in range(20)))
        server.stop(by=signal.SIGKILL)
    postgres.start()
    with running_server(tmp_path, DATABASE_URL=dsn) as server:
        wait_until_drained(server)
    assert ids_in(postgres) == Counter(ids)


def test_a_server_that_is_told_to_stop_drains_its_spool_first(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    with running_server(tmp_path, DATABASE_URL=postgres.start()) as server:
        postgres.stop()
        ids = answered(server, "one", "two")
        server.process.send_signal(signal.SIGTERM)
        postgres.start()
        assert server.process.wait(20) == 0
    assert not list((tmp_path / "spool").glob("*.spool"))
    assert ids_in(postgres) == Counter(ids)


def test_a_server_that_stops_without_its_postgresql_says_what_stays(
    postgres: EmbeddedPostgres, server_beside: RunningServer
) -> None:
    postgres.stop()
    answered(server_beside, "one", "two")
    assert server_beside.stop() == 0
    wait_for(lambda: any("2 rows stay" in str(line["message"]) for line in server_beside.log))


def test_a_second_ctrl_c_leaves_the_rows_in_the_spool(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    with running_server(tmp_path, DATABASE_URL=postgres.start()) as server:
        postgres.stop()
        answered(server, "one")
        server.process.send_signal(signal.SIGINT)
        give_up = time.monotonic() + 10
        while server.process.poll() is None:
            server.process.send_signal(signal.SIGINT)
            time.sleep(0.1)
            assert time.monotonic() < give_up
    assert list((tmp_path / "spool").glob("*.spool"))


def test_a_full_spool_is_503_and_nothing_is_claimed(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    with running_server(
        tmp_path, "--spool-max-bytes", "2000", DATABASE_URL=postgres.start(), **SOON
    ) as server:
        postgres.stop()
        ids = answered(server, "one", "two")
        refusal = predict(server, "x" * 1500)
        assert_nothing_is_claimed(refusal, "spool_full")
        assert "the spool is full" in refusal.json()["error"]
        assert not record_health(server)["spool"]["writable"]
        postgres.start()
        wait_until_drained(server)
        ids += answered(server, "back")
    assert ids_in(postgres) == Counter(ids)


def test_a_server_started_before_its_postgresql_answers_at_once(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    address = postgres.start()
    postgres.stop()
    with running_server(tmp_path, DATABASE_URL=address, **SOON) as server:
        ids = answered(server, "early")
        postgres.start()
        wait_until_drained(server)
        ids += answered(server, "migrated and back")
    assert ids_in(postgres) == Counter(ids)


def test_an_emptied_postgresql_gets_its_tables_again(
    postgres: EmbeddedPostgres, server_beside: RunningServer
) -> None:
    answered(server_beside, "before")
    asyncio.run(execute(postgres.start(), "DROP SCHEMA public CASCADE; CREATE SCHEMA public"))
    ids = answered(server_beside, "meanwhile")
    wait_until_drained(server_beside)
    ids += answered(server_beside, "back")
    assert ids_in(postgres) == Counter(ids)


def test_a_killed_embedded_postgresql_is_started_again_and_nobody_notices(data_dir: Path) -> None:
    with running_server(data_dir) as server:
        ids = answered(server, "before")
        [postgres] = children_of(server.process.pid)
        os.kill(postgres, signal.SIGKILL)
        ids += answered(server, *(["after"] * 20))
        wait_for(lambda: record_health(server)["available"])
        wait_until_drained(server)
        rows = httpx.get(f"{server.url}/predictions").json()["predictions"]
        assert Counter(row["id"] for row in rows) == Counter(ids)


def test_what_a_server_left_behind_beside_it_is_adopted(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    dsn = postgres.start()
    with running_server(
        tmp_path / "1", "--spool-dir", str(tmp_path / "pods/1"), DATABASE_URL=dsn
    ) as server:
        postgres.stop()
        ids = answered(server, "one", "two")
        server.stop(by=signal.SIGKILL)
    postgres.start()
    flags = ["--spool-dir", str(tmp_path / "pods/2"), "--spool-adopt", "true"]
    with running_server(tmp_path / "2", *flags, DATABASE_URL=dsn):
        wait_for(lambda: not (tmp_path / "pods/1").exists())
    assert ids_in(postgres) == Counter(ids)


# Without one


def test_without_a_spool_the_answer_is_503_and_the_server_stays_ready(
    postgres: EmbeddedPostgres, strict_server: RunningServer
) -> None:
    assert predict(strict_server, "before").is_success
    postgres.stop()
    assert_nothing_is_claimed(predict(strict_server, "lost"))
    assert record_health(strict_server) == {
        "mode": "postgresql",
        "available": False,
        "spool": None,
    }
    postgres.start()
    wait_for(lambda: predict(strict_server, "back").is_success)
    rows = httpx.get(f"{strict_server.url}/predictions").json()["predictions"]
    assert "lost" not in {row["text"] for row in rows}


def test_without_a_spool_a_hung_postgresql_is_503_within_a_second(
    postgres: EmbeddedPostgres, strict_server: RunningServer
) -> None:
    assert predict(strict_server, "before").is_success
    with hung(postgres):
        for _ in range(2):
            response = predict(strict_server, "meanwhile")
            assert_nothing_is_claimed(response)
            assert response.elapsed.total_seconds() < 2  # 0.8, and a busy machine
    wait_for(lambda: predict(strict_server, "back").is_success)
