"""All that a fault may be done to: the server, its PostgreSQL, the network between, disks."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from .background import Background
from .disks import Disk, disk
from .load import Load
from .programs import Postgres, Server
from .relay import Relay

DEADLINE_SECONDS = 15.0  # of the server for each request
WAIT_SECONDS = DEADLINE_SECONDS + 20.0  # of a client, on a busy machine
POSTGRES_MEBIBYTES = 512
SPOOL_DISK_MEBIBYTES = 32
SPOOL_BYTES = 4 * 1024 * 1024  # more than a fault makes, if it is not meant to


@dataclass
class Scene:
    """The parts of a campaign, running.

    Attributes:
        choice: what is left to chance.
        sessions: of another client of PostgreSQL, which is in our way.
    """

    server: Server
    postgres: Postgres
    relay: Relay
    load: Load
    background: Background
    spool_disk: Disk
    postgres_disk: Disk
    choice: random.Random
    sessions: list[asyncpg.Connection] = field(default_factory=list)

    @property
    def disks_are_small(self) -> bool:
        """Whether they can be filled."""
        return self.spool_disk.small and self.postgres_disk.small

    @property
    def spool_rows(self) -> int:
        """How many rows are in the spool, as the server says."""
        spool: dict[str, Any] = self.server.health()["record"].get("spool") or {}
        return int(spool.get("rows", 0))

    @property
    def at_rest(self) -> bool:
        """Whether rows go to PostgreSQL and none waits in a spool."""
        available = bool(self.server.health()["record"]["available"])
        return available and not self.spool_rows and not self.segments

    @property
    def segments(self) -> list[Path]:
        """The files of all spools."""
        return list(self.spool_disk.folder.glob("*/*.spool"))

    def another_spool(self) -> dict[str, str]:
        """The setting of a spool that is not there yet."""
        number = len(list(self.spool_disk.folder.iterdir()))
        return {"SENTIMENT_SPOOL_DIR": str(self.spool_disk.folder / f"pod-{number}")}


@contextmanager
def scene(folder: Path, choice: random.Random, *, spool: str) -> Iterator[Scene]:
    """Start everything, and end it.

    Args:
        folder: a new one for all their data.
        choice: what is left to chance.
        spool: `on` or `strict`, as in `SENTIMENT_SPOOL`.
    """
    with ExitStack() as stack:
        postgres_disk = stack.enter_context(disk(folder / "postgres", POSTGRES_MEBIBYTES))
        spool_disk = stack.enter_context(disk(folder / "spool", SPOOL_DISK_MEBIBYTES))
        background = stack.enter_context(Background())
        postgres = Postgres(postgres_disk.folder / "data")
        stack.callback(postgres.close)
        relay = Relay(postgres.port)
        background.run(relay.restore())
        stack.callback(lambda: background.run(relay.close()))
        server = Server(
            folder / "data",
            DATABASE_URL=postgres.address.replace(f":{postgres.port}/", f":{relay.port}/"),
            SENTIMENT_DEADLINE_SECONDS=str(DEADLINE_SECONDS),
            SENTIMENT_SPOOL=spool,
            SENTIMENT_SPOOL_MAX_BYTES=str(SPOOL_BYTES),
            SENTIMENT_SPOOL_DIR=str(spool_disk.folder / "pod"),
            SENTIMENT_SPOOL_ADOPT="true",
            SENTIMENT_ACCESS_LOG="off",
        )
        stack.callback(server.close)
        load = Load(server.url, choice.randrange(1_000_000), timeout=WAIT_SECONDS)
        yield Scene(server, postgres, relay, load, background, spool_disk, postgres_disk, choice)
