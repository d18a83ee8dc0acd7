"""The server while its PostgreSQL is away, hung, or late."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from sentiment_k8s.postgres import EmbeddedPostgres
from sentiment_k8s.schemas import ErrorBody

from .serving import RunningServer, running_server


@pytest.fixture
def server_beside(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[RunningServer]:
    """A server whose PostgreSQL is another's, as on Kubernetes."""
    with running_server(tmp_path, DATABASE_URL=postgres.start()) as server:
        yield server


def predict(server: RunningServer, text: str) -> httpx.Response:
    return httpx.get(f"{server.url}/predict", params={"text": text}, timeout=10)


def assert_nothing_is_claimed(response: httpx.Response) -> None:
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert ErrorBody.model_validate_json(response.content).error_type == "database_unavailable"


def predict_until_it_works(server: RunningServer, text: str) -> httpx.Response:
    give_up = time.monotonic() + 20
    while (response := predict(server, text)).status_code != 200:
        assert time.monotonic() < give_up, response.text
    return response


def test_without_postgresql_the_answer_is_503_and_the_server_stays_ready(
    postgres: EmbeddedPostgres, server_beside: RunningServer
) -> None:
    assert predict(server_beside, "before").is_success
    postgres.stop()
    assert_nothing_is_claimed(predict(server_beside, "meanwhile"))
    assert httpx.get(f"{server_beside.url}/health/ready").is_success
    health = httpx.get(f"{server_beside.url}/health").json()
    assert health["status"] == "healthy"
    assert health["record"] == {"mode": "postgresql", "available": False}


def test_the_server_comes_back_by_itself_with_postgresql(
    postgres: EmbeddedPostgres, server_beside: RunningServer
) -> None:
    postgres.stop()
    assert_nothing_is_claimed(predict(server_beside, "lost"))
    postgres.start()
    answer = predict_until_it_works(server_beside, "back").json()
    rows = httpx.get(f"{server_beside.url}/predictions").json()["predictions"]
    assert rows[0]["id"] == answer["id"]
    assert "lost" not in {row["text"] for row in rows}


def test_a_hung_postgresql_is_found_and_nothing_hangs_with_it(
    postgres: EmbeddedPostgres, server_beside: RunningServer
) -> None:
    assert predict(server_beside, "before").is_success
    assert postgres.pid is not None
    backends = [postgres.pid, *children_of(postgres.pid)]
    for pid in backends:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert_nothing_is_claimed(predict(server_beside, "meanwhile"))
    finally:
        for pid in backends:
            os.kill(pid, signal.SIGCONT)
    assert predict_until_it_works(server_beside, "back").is_success


def test_a_server_started_before_its_postgresql_serves_once_that_is_there(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    address = postgres.start()
    postgres.stop()
    with running_server(tmp_path, DATABASE_URL=address) as server:
        assert_nothing_is_claimed(predict(server, "early"))
        postgres.start()
        assert predict_until_it_works(server, "migrated and back").is_success


def test_an_emptied_postgresql_gets_its_tables_again(
    postgres: EmbeddedPostgres, server_beside: RunningServer
) -> None:
    assert predict(server_beside, "before").is_success
    asyncio.run(empty(postgres.start()))
    assert_nothing_is_claimed(predict(server_beside, "meanwhile"))
    assert predict_until_it_works(server_beside, "back").is_success


async def empty(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    finally:
        await connection.close()


def test_a_killed_embedded_postgresql_is_started_again(data_dir: Path) -> None:
    with running_server(data_dir) as server:
        before = predict(server, "before").json()
        [postgres] = children_of(server.process.pid)
        os.kill(postgres, signal.SIGKILL)
        after = predict_until_it_works(server, "after").json()
        rows = httpx.get(f"{server.url}/predictions").json()["predictions"]
        assert {before["id"], after["id"]} <= {row["id"] for row in rows}


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
