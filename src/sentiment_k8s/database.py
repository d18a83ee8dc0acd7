"""PostgreSQL as the server sees it: rows go in together, and whoever reads gets a connection.

Nothing is connected before it is needed, and every call finds its own way back after PostgreSQL
was away: it raises `DatabaseUnavailable` while it is, within a second or so, and works again once
it is not. What callers are told names no place; the log does, once when PostgreSQL goes away and
once when it is back. Any other error of PostgreSQL's is a bug of ours and is raised as it is.

Behind PgBouncer use session pooling: sessions carry settings and prepared statements.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import asyncpg
from pydantic_core import PydanticSerializationError, to_json

from .connections import (
    NO_TABLES,
    UNFIT,
    Connection,
    ConnectionLost,
    Pool,
    Result,
    Work,
    place_of,
    unavailable,
)
from .errors import RowsRefused
from .records import PredictionRow

logger = logging.getLogger(__name__)

Row = TypeVar("Row")

# Connections: there is one group commit at a time, and slow readers must not keep it waiting.
WRITERS = 1
READERS = 2
DRAINERS = 1
KEYED = 2  # one looks keys up while the other commits; none before the first key or feedback
CONNECT_SECONDS = 1.0
READ_SECONDS = 10.0
DRAIN_SECONDS = 10.0  # nobody waits for it
# PostgreSQL is told to end a commit a little before we give it up, so that no session of ours stays
# behind waiting for a lock.
STATEMENT_SHARE = 0.75
PARTITION_SECONDS = 600.0  # rows may have to move

# One statement is one transaction, in one round trip, whatever the number of rows. A row that is
# there already (an answer to the commit was lost, and the row is written again) stays as it is.
# Rows go as one JSON text: asyncpg checks every value of an array by itself, which costs us half as
# much CPU time again, and PostgreSQL reads JSON nearly as fast as arrays.
INSERT = """
INSERT INTO predictions (
    id, created_at, text, prediction, score, scores, model, revision, "precision", engine,
    tokens, truncated, queue_seconds, inference_seconds, request_id, subject
)
SELECT id, created_at, text, prediction, score, scores, model, revision, "precision", engine,
    tokens, truncated, queue_seconds, inference_seconds, request_id, subject
FROM json_to_recordset($1::json) AS row (
    id uuid, created_at timestamptz, text text, prediction text, score float8, scores jsonb,
    model text, revision text, "precision" text, engine text, tokens int, truncated bool,
    queue_seconds float8, inference_seconds float8, request_id text, subject text
)
ON CONFLICT DO NOTHING
"""
# Rows that waited in a spool; whoever was erased meanwhile does not come back. By the message there
# is always something to commit, which waits for disk and standbys: rows that are there already may
# be those of a commit that was waiting for a standby when PostgreSQL was stopped.
UNLESS_ERASED = INSERT.replace(
    "ON CONFLICT", "WHERE NOT sentiment_erased(created_at, text, subject)\nON CONFLICT"
)
DRAIN = f"""
WITH drained AS ({UNLESS_ERASED})
SELECT pg_logical_emit_message(true, 'sentiment', '')
"""


class Database:
    """The log in a PostgreSQL database whose schema is at head (see `migrations`).

    Args:
        dsn: the database, as in `DATABASE_URL`.
        write_seconds: a commit that takes longer has failed, connecting and a second try after a
            lost connection included.
        read_seconds: so has a query.
        connect_seconds: and a connection.

    Attributes:
        place: host, port and database, for the log.
        lacks_tables: set when a call found that our tables are not there or older than we are (no
            `upgrade` yet, or an emptied or restored PostgreSQL), until `ensure_partitions`
            succeeds.

    Raises:
        SettingsError: `dsn` cannot be read; nothing of it is repeated.

    Every method that asks PostgreSQL raises DatabaseUnavailable while it cannot answer, and
    Overloaded when it gets no connection in time because others use them all.
    """

    def __init__(
        self,
        dsn: str,
        *,
        write_seconds: float = 1.0,
        read_seconds: float = READ_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self.place = place_of(dsn)
        self.lacks_tables = asyncio.Event()
        self._warned = False
        self._write_seconds = write_seconds
        durable = self._check_durability
        self._writers = Pool(
            "written", dsn, WRITERS, connect_seconds, STATEMENT_SHARE * write_seconds, durable
        )
        self._drainers = Pool("drained", dsn, DRAINERS, connect_seconds, DRAIN_SECONDS, durable)
        self._keyed = Pool(
            "written by key", dsn, KEYED, connect_seconds, STATEMENT_SHARE * write_seconds, durable
        )
        self._readers = Pool(
            "read", dsn, READERS, connect_seconds, read_seconds, plan_for_each_value
        )

    @property
    def available(self) -> bool:
        """Whether the last attempt to write succeeded; false before the first one. Readers, who may
        ask for more than can be had in time, have no say."""
        return self._writers.reached is True

    async def read(self, work: Work[Result]) -> Result:
        """Do something on a reader's connection; it is ended by PostgreSQL after `read_seconds`.

        Args:
            work: gets the connection. It is done twice when the connection had died unseen.
        """
        return await self._run(self._readers, work)

    async def write(self, work: Work[Result]) -> Result:
        """Do something on the writer's connection, where commits wait for it: only what is short.

        Args:
            work: as in `read`.
        """
        return await self._run(self._writers, work, self._write_seconds)

    async def keyed(self, work: Work[Result]) -> Result:
        """Write what may have to wait for another session (the same idempotency key or feedback on
        the same row elsewhere), as `write` does it, but on connections of their own: the group
        commit must not wait with it.

        Args:
            work: as in `read`.
        """
        return await self._run(self._keyed, work, self._write_seconds)

    async def ensure_partitions(self) -> int:
        """Make the coming weeks' partitions and see whether a row could be written now; call it at
        start and once a day.

        Without them rows go to the default partition, from which the next call takes them.

        Returns:
            How many were made.
        """

        async def ensure(connection: Connection) -> int:
            async with connection.transaction():
                await connection.execute("SET LOCAL statement_timeout = 0")
                made: int = await connection.fetchval(
                    "SELECT sentiment_ensure_partitions()", timeout=PARTITION_SECONDS
                )
            return made

        async def look(connection: Connection) -> None:
            if await connection.fetchval("SELECT current_setting('transaction_read_only')") == "on":
                raise asyncpg.ReadOnlySQLTransactionError("it is read-only")
            await connection.execute("SELECT FROM predictions LIMIT 0")

        made = await self.read(ensure)
        self.lacks_tables.clear()
        await self.write(look)
        return made

    async def insert(self, rows: Sequence[PredictionRow]) -> None:
        """Return once all rows are committed, in one transaction. Doing it again does no harm.

        Raises:
            DatabaseUnavailable: it is not known that any of them is committed.
            RowsRefused: all are committed but those that it names.
        """
        if rows and (refused := await self._what_fits(self._insert, rows)):
            raise RowsRefused({rows[place].id: why for place, why in refused.items()})

    async def insert_spooled(self, rows: Sequence[bytes]) -> dict[int, str]:
        """Return once all rows of a spool are committed, on a connection of their own, but those
        that were erased since. Without rows: see whether some could be.

        Args:
            rows: JSON objects with the columns' names.

        Returns:
            By their place, PostgreSQL's objection to those that it cannot hold.
        """
        return await self._what_fits(self._insert_spooled, rows)

    async def close(self) -> None:
        """Give the connections back. A later call would open new ones."""
        self._writers.close()
        self._drainers.close()
        self._keyed.close()
        self._readers.close()

    async def _insert(self, rows: Sequence[PredictionRow]) -> None:
        values = rows_as_json(rows)

        async def insert(connection: Connection) -> None:
            await connection.execute(INSERT, values)

        await self.write(insert)

    async def _insert_spooled(self, rows: Sequence[bytes]) -> None:
        values = f"[{b','.join(rows).decode()}]"

        async def insert(connection: Connection) -> None:
            await connection.execute(DRAIN, values)

        await self._run(self._drainers, insert)

    async def _what_fits(
        self, insert: Callable[[Sequence[Row]], Awaitable[None]], rows: Sequence[Row]
    ) -> dict[int, str]:
        """Insert all rows but those that PostgreSQL cannot hold, which are told by their place. One
        bad row among many is found by halves."""
        try:
            await insert(rows)
        except UNFIT as error:
            if len(rows) <= 1:
                return {0: type(error).__name__}
        else:
            return {}
        half = len(rows) // 2
        first = await self._what_fits(insert, rows[:half])
        second = await self._what_fits(insert, rows[half:])
        return first | {half + place: why for place, why in second.items()}

    async def _run(
        self, pool: Pool, work: Work[Result], within_seconds: float | None = None
    ) -> Result:
        try:
            async with asyncio.timeout(within_seconds):
                try:
                    result = await pool.run(work)
                except ConnectionLost:
                    # It was lost before this call, most likely, and nobody had looked since: once
                    # more, on a new one. All that we do may be done twice.
                    result = await pool.run(work)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            lost = unavailable(error)
            if lost is None:
                raise
            self._note_failure(pool, error)
            raise lost from error
        self._note_success(pool)
        return result

    def _note_failure(self, pool: Pool, error: Exception) -> None:
        if isinstance(error, NO_TABLES):
            self.lacks_tables.set()
        if pool.reached is not False:
            pool.reached = False
            logger.warning("Rows cannot be %s: %s", pool.purpose, unavailable(error, self.place))

    def _note_success(self, pool: Pool) -> None:
        if pool.reached is False:
            logger.info("Rows can be %s again: %s is back.", pool.purpose, self.place)
        pool.reached = True

    async def _check_durability(self, connection: Connection) -> None:
        """A commit must mean that the row is on disk."""
        if await connection.fetchval("SHOW synchronous_commit") == "off":
            await connection.execute("SET synchronous_commit = on")
        if not self._warned and await connection.fetchval("SHOW fsync") == "off":
            self._warned = True
            logger.warning(
                "PostgreSQL at %s runs with fsync off: rows can be lost when its machine fails.",
                self.place,
            )


def rows_as_json(rows: Sequence[PredictionRow]) -> str:
    """Rows as `INSERT` takes them.

    Raises:
        asyncpg.DataError: a text has half a surrogate pair, which is no character.
    """
    try:
        return to_json(rows).decode()
    except PydanticSerializationError as error:
        raise asyncpg.DataError(type(error).__name__) from None


async def plan_for_each_value(connection: Connection) -> None:
    """A word may be in every text or in none, and a plan that serves both serves neither."""
    await connection.execute("SET plan_cache_mode = force_custom_plan; SET jit = off")
