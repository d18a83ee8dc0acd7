"""Real PostgreSQL for the tests: one server a session, a fresh database a test.

`SENTIMENT_TEST_POSTGRES=/usr/lib/postgresql/15/bin` runs all of it on another PostgreSQL.
"""

import asyncio
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from sentiment_k8s.migrations import upgrade
from sentiment_k8s.postgres import EmbeddedPostgres
from sentiment_k8s.postgres_binaries import find_binaries

Result = TypeVar("Result")

TEMPLATE = "template_sentiment"


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in a loop of its own, from a fixture that is not async."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(work)


def with_database(dsn: str, name: str) -> str:
    """The address of another database on the same server."""
    return f"{dsn.rpartition('/')[0]}/{name}"


async def execute(dsn: str, *statements: str) -> None:
    """Run statements on a connection of their own."""
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def fetch(dsn: str, query: str, *arguments: object) -> list[asyncpg.Record]:
    """Rows of a query on a connection of its own."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(query, *arguments)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def postgres_binaries() -> Path:
    """The folder of `postgres`, `psql` and `pg_dump` under test."""
    other = os.environ.get("SENTIMENT_TEST_POSTGRES")
    return Path(other) if other else find_binaries()


@pytest.fixture(scope="session")
def postgres_template(postgres_binaries: Path) -> Iterator[Path]:
    """A data folder that has been started and stopped once: initdb takes seconds, a copy little."""
    with tempfile.TemporaryDirectory(prefix="sentiment-postgres-") as folder:
        EmbeddedPostgres(Path(folder), binaries=postgres_binaries).__enter__().stop()
        yield Path(folder)


@pytest.fixture
def postgres_folder(postgres_template: Path, tmp_path: Path) -> Path:
    """A data folder of the test's own, stopped."""
    copy = tmp_path / "data"
    subprocess.run(["cp", "-a", postgres_template, copy], check=True)
    return copy


@pytest.fixture
def postgres(postgres_folder: Path, postgres_binaries: Path) -> Iterator[EmbeddedPostgres]:
    """A server of the test's own, which it may stop, kill and start; not started yet."""
    server = EmbeddedPostgres(postgres_folder, binaries=postgres_binaries)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_dsn(postgres_template: Path, postgres_binaries: Path) -> Iterator[str]:
    """The session's server; tests leave it running and its databases alone."""
    with tempfile.TemporaryDirectory(prefix="sentiment-postgres-") as parent:
        copy = Path(parent) / "data"
        subprocess.run(["cp", "-a", postgres_template, copy], check=True)
        with EmbeddedPostgres(copy, binaries=postgres_binaries) as server:
            yield server.start()
            assert server.pid
            # Its data is thrown away: no need to bring hundreds of files to disk first.
            os.kill(server.pid, signal.SIGQUIT)


@pytest.fixture(scope="session")
def new_database(postgres_dsn: str) -> Callable[[str], str]:
    """Makes a database from a template and gives its address."""
    numbers = count(1)

    def make(template: str) -> str:
        name = f"test_{next(numbers)}"
        run(execute(postgres_dsn, f"CREATE DATABASE {name} TEMPLATE {template}"))
        return with_database(postgres_dsn, name)

    return make


@pytest.fixture
def empty_dsn(new_database: Callable[[str], str]) -> str:
    """A database of the test's own, without our tables."""
    return new_database("template1")


@pytest.fixture(scope="session")
def _migrated(postgres_dsn: str) -> str:
    run(execute(postgres_dsn, f"CREATE DATABASE {TEMPLATE}"))
    run(upgrade(with_database(postgres_dsn, TEMPLATE)))
    return TEMPLATE


@pytest.fixture
def database_dsn(new_database: Callable[[str], str], _migrated: str) -> str:
    """A database of the test's own, with the schema at head."""
    return new_database(_migrated)
