"""The promise of the log: a row is in PostgreSQL or, while that is away, in the spool on disk.

Once PostgreSQL fails to commit a group within its time, that group and all later ones go to the
spool without asking it, until the drain has found it back: then new rows go to PostgreSQL again,
and the spool is drained beside them, oldest first, with at most half of a connection's time. A
group that was given up may have been committed after all: its rows are one with the drained ones.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from .database import STATEMENT_SHARE, Database
from .errors import DatabaseUnavailable, Overloaded, RowsRefused, SpoolFull
from .logs import whereabouts
from .metrics import Metrics
from .records import PredictionRow
from .spool import MOST_ROWS, Spool

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

RETRY_SECONDS = 0.5  # while PostgreSQL is away
FAULT_SECONDS = 5.0  # when something else is wrong, which only a person can mend
# The first chunk is like any other commit, and shows whether commits are to be had; then chunks
# grow as long as they do not keep PostgreSQL busy for so much longer than the fastest one: a commit
# may take long whatever its size (a slow disk, a standby far away).
FIRST_ROWS = 32
CHUNK_SECONDS = 0.2


class DiskThread:
    """A spool in a thread of its own: a slow disk stops nobody but those who wait for it.

    Args:
        spool: which nobody else uses.
    """

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")

    async def run(self, work: Callable[..., Result], *arguments: object) -> Result:
        """Call one of the spool's methods."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def close(self, last: Callable[[], None] | None = None) -> None:
        """Let go of the folder, by `last` if not by the spool's own `close`."""
        await self.run(last or self.spool.close)
        self._thread.shutdown()


class DurableLog:
    """A `RowStore`: PostgreSQL, or the spool.

    Args:
        database: where rows go.
        spool: where they wait.
        metrics: where rows are counted.
        commit_seconds: time for a commit; PostgreSQL is back when a drained chunk takes less than
            its statement's share of that.

    Attributes:
        away: whether rows go to the spool. At first as the database says.
        spool: as given.
    """

    def __init__(
        self, database: Database, spool: Spool, metrics: Metrics, commit_seconds: float
    ) -> None:
        self.spool = spool
        self.away = not database.available
        self._commit_seconds = commit_seconds
        self._database = database
        self._metrics = metrics
        self._disk = DiskThread(spool)
        self._something_to_do = asyncio.Event()
        self._drained = asyncio.Event()
        self._closing = False
        self._drainer = asyncio.create_task(self._drain_for_ever(), name="drain of the spool")

    async def insert(self, rows: Sequence[PredictionRow]) -> None:
        """Return once all rows are durable.

        Raises:
            DatabaseUnavailable: PostgreSQL is away and the spool cannot take them.
            RowsRefused: all are but those that it names.
        """
        if not self.away:
            try:
                await self._database.insert(rows)
                return
            except (DatabaseUnavailable, Overloaded):
                self._go_away()
                await self._append(rows)
                self._metrics.commit_failures.inc()  # where this fails too, the caller counts it
                return
        await self._append(rows)

    async def close(self, until: float) -> None:
        """Drain what can be drained, and let go of the spool.

        Args:
            until: when to stop (`time.monotonic()`); the rows that are left then stay on disk.
        """
        self._closing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await self._drained.wait()
        if self.spool.rows:
            logger.warning(
                "%d rows stay in the spool %s: the next start there writes them, or `sentiment "
                "spool drain`.",
                self.spool.rows,
                self.spool.folder,
            )
        self._drainer.cancel()
        await asyncio.gather(self._drainer, return_exceptions=True)
        await self._disk.close()

    def hurry(self) -> None:
        """Let `close` wait no longer."""
        self._drained.set()

    async def _append(self, rows: Sequence[PredictionRow]) -> None:
        worked = self.spool.writable
        try:
            with self._metrics.spool_write_seconds.time():
                await self._disk.run(self.spool.append, rows)
        except RowsRefused as error:
            self._metrics.spooled.inc(len(rows) - len(error.refused))
            raise
        except (SpoolFull, OSError) as error:
            self._metrics.spool_failures.inc()
            if isinstance(error, SpoolFull):
                raise
            if worked:
                logger.error("The spool %s takes no rows: %s", self.spool.folder, error.strerror)
            raise DatabaseUnavailable(
                "PostgreSQL is away and the spool's disk fails: retry later.", retry_after=5
            ) from error
        else:
            self._metrics.spooled.inc(len(rows))
        finally:
            self._drained.clear()
            self._something_to_do.set()

    def _go_away(self) -> None:
        if not self.away:
            self.away = True
            logger.warning("PostgreSQL is away: rows go to the spool %s.", self.spool.folder)
        self._something_to_do.set()

    async def _after_chunk(self, seconds: float) -> None:
        self._look(seconds)
        if not self._closing:
            await asyncio.sleep(seconds)

    def _look(self, chunk_seconds: float) -> None:
        """A chunk has been drained: PostgreSQL is back, unless it is too slow to be waited for."""
        if self.away and chunk_seconds < STATEMENT_SHARE * self._commit_seconds:
            self.away = False
            logger.info("PostgreSQL is back; %d rows are left in the spool.", self.spool.rows)

    async def _drain_for_ever(self) -> None:
        while True:
            self._something_to_do.clear()
            try:
                await self._drain_once()
            except (DatabaseUnavailable, Overloaded):
                await asyncio.sleep(RETRY_SECONDS)
            except Exception as error:
                logger.error("Draining the spool failed: %s", whereabouts(error))
                await asyncio.sleep(FAULT_SECONDS)
            else:
                if self.away:  # it is too slow
                    await asyncio.sleep(RETRY_SECONDS)
                else:
                    await self._something_to_do.wait()

    async def _drain_once(self) -> None:
        try:
            await drain(self._disk, self._database, self._metrics, self._after_chunk)
        except OSError:  # of our disk, which must not keep new rows from PostgreSQL
            await self._ask()
            raise
        if not self._something_to_do.is_set():
            self._drained.set()
        await self._ask()

    async def _ask(self) -> None:
        if self.away:  # no chunk has shown yet whether PostgreSQL is back
            started = time.monotonic()
            await self._database.insert_spooled([])
            self._look(time.monotonic() - started)


async def drain(
    disk: DiskThread,
    database: Database,
    metrics: Metrics,
    after_chunk: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Bring all rows of a spool into PostgreSQL, oldest first.

    Args:
        disk: the spool.
        database: where its rows go.
        metrics: where they are counted.
        after_chunk: is called with the seconds that PostgreSQL took for a chunk. By default it
            leaves PostgreSQL as long to the others.

    Raises:
        DatabaseUnavailable: PostgreSQL is away; what is left stays in the spool.
        OSError: the disk failed.
    """
    rows, fastest = FIRST_ROWS, math.inf
    while chunk := await disk.run(disk.spool.read, rows):
        started = time.monotonic()
        refused = await database.insert_spooled(chunk.rows)
        seconds = time.monotonic() - started
        await disk.run(disk.spool.done, chunk, refused)
        metrics.drained.inc(len(chunk.rows) - len(refused))
        fastest = min(fastest, seconds)
        grow = seconds < fastest + CHUNK_SECONDS
        rows = min(2 * rows, MOST_ROWS) if grow else max(rows // 2, FIRST_ROWS)
        await after_chunk(seconds)
