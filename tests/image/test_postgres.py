"""The base image postgres:17, official or our stand-in, keeps the contract that the chart needs."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from ..postgres_fixtures import fetch
from .conftest import new_volume
from .containers import POSTGRES, SPOOL, Container, docker, run_once, running, running_server

ROOT = Path(__file__).parents[2]
FOLDER = "/var/lib/postgresql/data"
MADE = "PostgreSQL init process complete"
READY = "database system is ready to accept connections"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_postgres(volume: str, *options: str) -> Iterator[tuple[Container, str]]:
    """PostgreSQL as the chart runs it, and its address."""
    port = free_port()
    variables = (
        *("--env", "POSTGRES_USER=user", "--env", "POSTGRES_DB=ai_db"),
        *("--env", f"PGDATA={FOLDER}/pgdata"),
    )
    writable = (
        *("--user", "999:999", "--tmpfs", "/tmp", "--tmpfs", "/var/run/postgresql:mode=1777"),
        *("--volume", f"{volume}:{FOLDER}"),
    )
    all_options = (*variables, *writable, *options)
    with running("-c", f"port={port}", image=POSTGRES, options=all_options) as container:
        yield container, f"postgresql://user:secret@127.0.0.1:{port}/ai_db"


def rows(dsn: str) -> list[str]:
    found = asyncio.run(fetch(dsn, "SELECT text FROM predictions"))
    return [row["text"] for row in found]


def test_the_first_start_makes_the_database_and_a_second_one_keeps_it(volume: str) -> None:
    """With the password of a file and our init.sql, after which the server finds its table."""
    secret = ("--env", "POSTGRES_PASSWORD_FILE=/run/password")
    init = ("--volume", f"{ROOT}/init.sql:/docker-entrypoint-initdb.d/init.sql:ro")
    password = ROOT / "build" / "password"
    password.parent.mkdir(exist_ok=True)
    password.write_text("secret\n")
    mounted = ("--volume", f"{password}:/run/password:ro")
    with running_postgres(volume, *secret, *mounted, *init) as (postgres, dsn):
        postgres.line_with(MADE)
        postgres.line_with(READY)
        with running_server(
            *("--env", f"DATABASE_URL={dsn}", "--env", "SENTIMENT_RECORD=required"),
            *("--tmpfs", SPOOL),
        ) as (_, url):
            httpx.get(f"{url}/predict", params={"text": "I love AI!"}).raise_for_status()
        assert rows(dsn) == ["I love AI!"]
        assert postgres.stop("INT") == 0
    with running_postgres(volume) as (postgres, dsn):
        postgres.line_with(READY)
        assert MADE not in postgres.said
        assert rows(dsn) == ["I love AI!"]


def test_what_a_killed_container_left_in_its_volume_is_drained_from_there(volume: str) -> None:
    secret = ("--env", "POSTGRES_PASSWORD=secret")
    mounted = ("--volume", f"{volume}:{SPOOL}")
    with new_volume() as data, running_postgres(data, *secret) as (postgres, dsn):
        address = ("--env", f"DATABASE_URL={dsn}")
        postgres.line_with(MADE)
        postgres.line_with(READY)
        with running_server(*address, *mounted) as (server, url):
            docker("pause", postgres.name)
            httpx.get(f"{url}/predict", params={"text": "I love AI!"}).raise_for_status()
            server.stop("KILL")
        docker("unpause", postgres.name)
        drain = ("spool", "drain")
        status, said = run_once(*drain, network="host", options=(*address, *mounted))
        assert status == 0, said
        assert rows(dsn) == ["I love AI!"]


def test_it_runs_as_the_user_999_also_when_it_is_started_by_root(volume: str) -> None:
    options = ("--user", "0", "--cap-add", "CHOWN", "--cap-add", "SETUID", "--cap-add", "SETGID")
    more = ("--cap-add", "DAC_OVERRIDE", "--cap-add", "FOWNER", "--env", "POSTGRES_PASSWORD=secret")
    with running_postgres(volume, *options, *more) as (postgres, _):
        postgres.line_with(MADE)
        postgres.line_with(READY)
        _, *processes = docker("top", postgres.name, "-eo", "pid,uid").splitlines()
        assert {process.split()[1] for process in processes} == {"999"}


def test_without_a_password_it_does_not_start() -> None:
    status, said = run_once(image=POSTGRES, options=("--user", "999:999"))
    assert status == 1
    assert "POSTGRES_PASSWORD" in said
