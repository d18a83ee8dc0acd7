"""Spools that servers left behind: on Kubernetes, folders of pods that are gone, in one claim."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .database import Database
from .durable import DiskThread, drain
from .metrics import Metrics
from .spool import FolderInUse, Spool, is_spool, open_spool

logger = logging.getLogger(__name__)


async def drain_folder(folder: Path, dsn: str, say: Callable[[str], object]) -> None:
    """Write all rows of one folder whose server is gone.

    Args:
        folder: of the spool.
        dsn: the database, as in `DATABASE_URL`.
        say: tells the user a sentence.

    Raises:
        SettingsError: a server uses the folder, or it cannot be used.
        DatabaseUnavailable: PostgreSQL is away; what is left stays in the folder.
    """
    metrics, database = Metrics(), Database(dsn)
    disk = DiskThread(open_spool(folder, 0, metrics))
    try:
        waiting = disk.spool.rows
        await drain(disk, database, metrics)
        say(f"{waiting} rows of {folder} are in the database.")
        if disk.spool.damaged_records:
            say(f"{disk.spool.damaged_records} damaged records are in {folder / 'damaged'}.")
    finally:
        await disk.close()
        await database.close()


async def adopt(own: Path, max_bytes: int, database: Database, metrics: Metrics) -> None:
    """Write what is left in folders beside our own whose servers are gone, and remove them.

    A folder is a spool when it has a file `lock` and nothing that is not a spool's, and its server
    is gone when we can have that lock. One with damaged records stays, for a person to look at.

    Args:
        own: our spool's folder, whose lock we hold.
        max_bytes: as for `Spool`.
        database: where rows go.
        metrics: where they are counted.

    Raises:
        DatabaseUnavailable: PostgreSQL is away; what is left stays in the folder.
    """
    for lock in sorted(own.parent.glob("*/lock")):
        try:
            if lock.parent == own or not is_spool(lock.parent):
                continue
            spool = await asyncio.to_thread(partial(Spool, lock.parent, max_bytes, metrics))
        except (FolderInUse, OSError):
            continue
        if spool.rows:
            logger.info("Writing %d rows that a server left in %s.", spool.rows, lock.parent)
        disk = DiskThread(spool)
        try:
            await drain(disk, database, metrics)
        except OSError as error:  # of this folder; the others are drained all the same
            logger.error("The spool %s cannot be read: %s", lock.parent, error.strerror)
        finally:
            await disk.close(spool.remove)
