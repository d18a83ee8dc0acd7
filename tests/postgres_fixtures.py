"""Real PostgreSQL for the tests: one server a session, a fresh database a test.

`SENTIMENT_TEST_DATABASE_URL` names another server for the second, of an older version for example;
its user must be allowed to create databases.
"""

import asyncio
import os
import secrets
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from sentiment_k8s.database import Database
from sentiment_k8s.migrations import upgrade
from sentiment_k8s.postgres import EmbeddedPostgres
from sentiment_k8s.postgres_binaries import find_binaries

Result = TypeVar("Result")


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


async def wait_until_blocked(connection: asyncpg.Connection, sessions: int) -> None:
    """Return once this many other sessions wait for a lock in the connection's database."""
    blocked = (
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        " WHERE NOT granted AND datname = current_database()"
    )
    while await connection.fetchval(blocked) < sessions:  # noqa: ASYNC110 - a lock wakes nobody
        await asyncio.sleep(0.01)


@pytest.fixture(scope="session")
def postgres_binaries() -> Path:
    """The folder of `psql` and `pg_dump`."""
    return find_binaries()


@pytest.fixture(scope="session")
def postgres_template() -> Iterator[Path]:
    """A data folder that has been started and stopped once: initdb takes seconds, a copy little."""
    with tempfile.TemporaryDirectory(prefix="sentiment-postgres-") as folder:
        EmbeddedPostgres(Path(folder)).__enter__().stop()
        yield Path(folder)


@pytest.fixture
def postgres_folder(postgres_template: Path, tmp_path: Path) -> Path:
    """A data folder of the test's own, stopped."""
    copy = tmp_path / "data"
    subprocess.run(["cp", "-a", postgres_template, copy], check=True)
    return copy


@pytest.fixture
def postgres(postgres_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A server of the test's own, which it may stop, kill and start; not started yet."""
    server = EmbeddedPostgres(postgres_folder)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_dsn(postgres_template: Path) -> Iterator[str]:
    """The session's server; tests leave it running and its databases alone."""
    if other := os.environ.get("SENTIMENT_TEST_DATABASE_URL"):
        yield other
        return
    with tempfile.TemporaryDirectory(prefix="sentiment-postgres-") as parent:
        copy = Path(parent) / "data"
        subprocess.run(["cp", "-a", postgres_template, copy], check=True)
        with EmbeddedPostgres(copy) as server:
            yield server.start()
            assert server.pid
            # Its data is thrown away: no need to bring hundreds of files to disk first.
            os.kill(server.pid, signal.SIGQUIT)


@pytest.fixture(scope="session")
def new_database(postgres_dsn: str) -> Iterator[Callable[[str], str]]:
    """Makes a database from a template and gives its address."""
    made = []

    def make(template: str) -> str:
        made.append(f"test_{secrets.token_hex(4)}")
        run(execute(postgres_dsn, f"CREATE DATABASE {made[-1]} TEMPLATE {template}"))
        return with_database(postgres_dsn, made[-1])

    yield make
    if postgres_dsn == os.environ.get("SENTIMENT_TEST_DATABASE_URL"):
        run(execute(postgres_dsn, *(f"DROP DATABASE {name} WITH (FORCE)" for name in made)))


@pytest.fixture
def empty_dsn(new_database: Callable[[str], str]) -> str:
    """A database of the test's own, without our tables."""
    return new_database("template1")


@pytest.fixture(scope="session")
def migrated(new_database: Callable[[str], str]) -> str:
    """The name of a database with the schema at head, to be a template."""
    dsn = new_database("template1")
    run(upgrade(dsn))
    return dsn.rpartition("/")[2]


@pytest.fixture
def database_dsn(new_database: Callable[[str], str], migrated: str) -> str:
    """A database of the test's own, with the schema at head."""
    return new_database(migrated)


@pytest.fixture
async def database(database_dsn: str) -> AsyncIterator[Database]:
    # Patient: a busy machine is no fault of the code.
    database = Database(database_dsn, write_seconds=30, read_seconds=30)
    yield database
    await database.close()
