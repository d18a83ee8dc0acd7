"""The book's own first app as a process of this machine, in a cgroup with a pod's limits."""

import os
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from bench import machine, servers
from bench.peers.environment import FOLDER, home

from .limits import MIB
from .load import Load
from .log import Log
from .namespace import Namespace

CGROUPS = Path("/sys/fs/cgroup")
PERIOD_US = 100_000
UVICORN = ["-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--port", "{port}"]
JOIN = 'for group in $0; do echo $$ > "$group/cgroup.procs"; done; exec "$@"'


@dataclass(frozen=True, slots=True)
class Limits:
    """What a cgroup allows, by file and value; version 2 has all in one folder, 1 in two."""

    memory_mib: int
    cpus: float

    @property
    def files(self) -> dict[Path, str]:
        memory, quota = str(self.memory_mib * MIB), str(int(self.cpus * PERIOD_US))
        if (CGROUPS / "cgroup.controllers").exists():
            group = CGROUPS / "books-app"
            return {group / "memory.max": memory, group / "cpu.max": f"{quota} {PERIOD_US}"}
        return {
            CGROUPS / "memory/books-app/memory.limit_in_bytes": memory,
            CGROUPS / "cpu/books-app/cpu.cfs_quota_us": quota,
        }


@contextmanager
def limited(limits: Limits) -> Iterator[list[Path]]:
    """cgroups with these limits, for processes that join them."""
    groups = sorted({path.parent for path in limits.files})
    with ExitStack() as stack:
        for group in groups:
            group.mkdir(exist_ok=True)
            stack.callback(group.rmdir)
        for path, value in limits.files.items():
            path.write_text(value)
        yield groups


@contextmanager
def books_app(limits: Limits, database_url: str, log: Path) -> Iterator[servers.Server]:
    """The app with a model of DistilBERT's shape, started when the block begins.

    Raises:
        SystemExit: it did not start.
    """
    python = home("seed") / "bin/python"
    checkpoint = machine.cache() / "distilbert-checkpoint"
    if not python.exists() or not checkpoint.exists():
        pytest.skip(f"{python} (bench.compare makes it) and {checkpoint} must be there")
    with limited(limits) as groups:
        app = servers.Server(
            ["sh", "-c", JOIN, " ".join(map(str, groups)), str(python), *UVICORN],
            cores=sorted(os.sched_getaffinity(0)),
            ready="/health",
            log=log,
            environment={"MODEL": str(checkpoint), "DATABASE_URL": database_url},
            folder=FOLDER / "seed",
        )  # fmt: skip
        with app:
            yield app


def watch(app: servers.Server, load: Load, seconds: float) -> tuple[float, float | None]:
    """Go on with a load for so long.

    Returns:
        The app's peak memory in MiB, and after how many seconds the kernel killed it, if it did.
    """
    started = time.monotonic()
    peak = 0.0
    while (passed := time.monotonic() - started) < seconds:
        try:
            peak = round(app.peak_rss_mib(), 1)
        except ValueError:  # it has ended, and has no memory any more
            return peak, round(passed, 1)
        load.last(0.2)
    return peak, None


def database_for_it(namespace: Namespace) -> str:
    """A database with the book's table on the release's PostgreSQL; its address on this machine."""
    Log(namespace, "postgres", "postgres").query('CREATE DATABASE book OWNER "user"')
    Log(namespace, "book").query((FOLDER / "init.sql").read_text())
    secret = namespace.get("secret", "sentiment-database")
    uri = urlsplit(b64decode(secret["data"]["uri"]).decode())
    who = uri.netloc.rpartition("@")[0]
    host = urlsplit(namespace.address("postgresql")).netloc
    return urlunsplit(uri._replace(netloc=f"{who}@{host}", path="/book"))
