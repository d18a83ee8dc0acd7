"""PostgreSQL as the server sees it: rows go in together, pages and counts come out.

Nothing is connected before it is needed, and every call finds its own way back after PostgreSQL
was away: it raises `DatabaseUnavailable` while it is, within a second or so, and works again once
it is not. What callers are told names no place; the log does, once when PostgreSQL goes away and
once when it is back. Any other error of PostgreSQL's is a bug of ours and is raised as it is.

Behind PgBouncer use session pooling: sessions carry settings and prepared statements.
"""

import asyncio
import json
import logging
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

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
from .errors import RequestError, RowsRefused
from .records import EPOCH, PredictionRow, iso

logger = logging.getLogger(__name__)

# Connections: there is one group commit at a time, and slow readers must not keep it waiting.
WRITERS = 1
READERS = 2
CONNECT_SECONDS = 1.0
READ_SECONDS = 10.0
PARTITION_SECONDS = 600.0  # rows may have to move
PAGE_BYTES = 4 * 1024 * 1024  # of text, after which a page ends

# One statement is one transaction, in one round trip, whatever the number of rows. A row that is
# there already (an answer to the commit was lost, and the row is written again) stays as it is.
# Rows go as one JSON text: asyncpg checks every value of an array by itself, which costs us half as
# much CPU time again, and PostgreSQL reads JSON nearly as fast as arrays.
INSERT = """
INSERT INTO predictions (
    id, created_at, text, prediction, score, scores, model, revision, "precision", tokens,
    truncated, queue_seconds, inference_seconds, request_id, subject
)
SELECT id, created_at, text, prediction, score, scores, model, revision, "precision", tokens,
    truncated, queue_seconds, inference_seconds, request_id, subject
FROM json_to_recordset($1::json) AS row (
    id uuid, created_at timestamptz, text text, prediction text, score float8, scores jsonb,
    model text, revision text, "precision" text, tokens int, truncated bool,
    queue_seconds float8, inference_seconds float8, request_id text, subject text
)
ON CONFLICT DO NOTHING
"""

SELECT = """
SELECT id, created_at, text, prediction, score, scores, model, revision, "precision", tokens,
    truncated, queue_seconds, inference_seconds, request_id, subject
FROM predictions
"""
# A page's rows, as many as fit, and whether more come after each. The inner query holds longer
# texts as references: what does not fit is neither unpacked nor sent.
PAGE = """
SELECT id, created_at, text, prediction, score, scores, model, revision, "precision", tokens,
    truncated, queue_seconds, inference_seconds, request_id, subject, more
FROM (
    SELECT *, lead(true) OVER newest AS more,
        sum(octet_length(text)) OVER newest - octet_length(text) AS bytes_before
    FROM ({rows}) AS candidate
    WINDOW newest AS (ORDER BY created_at DESC, id DESC ROWS UNBOUNDED PRECEDING)
) AS counted
WHERE bytes_before < {most_bytes}
ORDER BY created_at DESC, id DESC
LIMIT {limit}
"""
BY_ID_AND_TIME = f"{SELECT} WHERE id = $1 AND created_at = $2"
BY_ID = f"{SELECT} WHERE id = $1 LIMIT 1"

COUNT = """
SELECT date_bin($3, created_at, $1) AS start, prediction, count(*) AS count
FROM predictions
WHERE created_at >= $1 AND created_at < $2 AND prediction IS NOT NULL
GROUP BY 1, 2
"""

CURSOR = struct.Struct(">q16s")  # microseconds since 1970, and the id: the last row that was seen
MICROSECOND = timedelta(microseconds=1)
MOST_MILLISECONDS = (datetime.max.replace(tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)


class Database:
    """The log in a PostgreSQL database whose schema is at head (see `migrations`).

    Args:
        dsn: the database, as in `DATABASE_URL`.
        write_seconds: a commit that takes longer has failed.
        read_seconds: so has a query.
        connect_seconds: and a connection.

    Attributes:
        place: host, port and database, for the log.
        lacks_tables: set when a call found that our tables are not there (no `upgrade` yet, or an
            emptied PostgreSQL), until `ensure_partitions` succeeds.

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
        self._writers = Pool(
            "written", dsn, WRITERS, connect_seconds, write_seconds, self._check_durability
        )
        self._readers = Pool("read", dsn, READERS, connect_seconds, read_seconds)

    @property
    def available(self) -> bool:
        """Whether the last attempt to write succeeded; false before the first one. Readers, who may
        ask for more than can be had in time, have no say."""
        return self._writers.reached is True

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

        made = await self._run(self._readers, ensure)
        self.lacks_tables.clear()
        await self._run(self._writers, look)
        return made

    async def insert(self, rows: Sequence[PredictionRow]) -> None:
        """Return once all rows are committed, in one transaction. Doing it again does no harm.

        Raises:
            DatabaseUnavailable: it is not known that any of them is committed.
            RowsRefused: all are committed but those that it names.
        """
        if rows and (refused := await self._insert_what_fits(rows)):
            raise RowsRefused(refused)

    async def predictions(
        self,
        limit: int = 50,
        cursor: str | None = None,
        label: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> tuple[list[dict[str, Any]], str | None]:
        """A page of the log, newest first. It ends early, after at least one row, when its texts
        reach `PAGE_BYTES`.

        Args:
            limit: rows in the page, at most.
            cursor: where the page before ended, as it said; None for the newest.
            label: only rows with this prediction.
            since: only rows of this time or later, with a time zone.
            until: only rows before this time, with a time zone.

        Returns:
            The rows, fit for JSON, and the cursor of the next page, None at the end. Rows that
            come in meanwhile neither shift nor repeat what later pages show.

        Raises:
            RequestError: the cursor is not one that an earlier page gave.
        """
        query, arguments = page_query(limit, cursor, label, since, until)

        async def fetch(connection: Connection) -> list[asyncpg.Record]:
            return await connection.fetch(query, *arguments)

        try:
            found = await self._run(self._readers, fetch)
        except UNFIT as error:
            raise RequestError(
                f"There can be no such rows ({type(error).__name__}): check label, since and until."
            ) from None
        rows = [_as_json(row) for row in found]
        if not found or not found[-1]["more"]:
            return rows, None
        return rows, _cursor(found[-1]["created_at"], found[-1]["id"])

    async def prediction(self, row_id: UUID) -> dict[str, Any] | None:
        """One row, fit for JSON, or None."""

        async def fetch(connection: Connection) -> asyncpg.Record | None:
            # The time in the id names the partition. A row whose created_at was set by hand is
            # found by its id alone, in all of them.
            return await connection.fetchrow(
                BY_ID_AND_TIME, row_id, time_in(row_id)
            ) or await connection.fetchrow(BY_ID, row_id)

        found = await self._run(self._readers, fetch)
        return None if found is None else _as_json(found)

    async def stats(self, since: datetime, until: datetime, buckets: int) -> dict[str, Any]:
        """How many rows of each label there are, over time, fit for JSON.

        Args:
            since: start of the first bucket, with a time zone.
            until: end of the last one.
            buckets: how many of equal width.
        """
        width = (until - since) / buckets

        async def count(connection: Connection) -> list[asyncpg.Record]:
            return await connection.fetch(COUNT, since, until, width)

        counts: list[dict[str, int]] = [{} for _ in range(buckets)]
        totals: dict[str, int] = {}
        for row in await self._run(self._readers, count):
            # The width is rounded to microseconds, so the last bucket may have a crumb after it.
            bucket = min(round((row["start"] - since) / width), buckets - 1)
            label, number = row["prediction"], row["count"]
            counts[bucket][label] = counts[bucket].get(label, 0) + number
            totals[label] = totals.get(label, 0) + number
        seconds = width.total_seconds()
        return {
            "since": iso(since),
            "until": iso(until),
            "bucket_seconds": int(seconds) if seconds.is_integer() else seconds,
            "buckets": [
                {"start": iso(since + bucket * width), "counts": of_bucket}
                for bucket, of_bucket in enumerate(counts)
            ],
            "totals": totals,
        }

    async def close(self) -> None:
        """Give the connections back. A later call would open new ones."""
        self._writers.close()
        self._readers.close()

    async def _insert(self, rows: Sequence[PredictionRow]) -> None:
        try:
            values = to_json(rows).decode()
        except PydanticSerializationError as error:  # half a surrogate pair, which is no character
            raise asyncpg.DataError(type(error).__name__) from None

        async def insert(connection: Connection) -> None:
            await connection.execute(INSERT, values)

        await self._run(self._writers, insert)

    async def _insert_what_fits(self, rows: Sequence[PredictionRow]) -> dict[UUID, str]:
        """Insert all rows but those that PostgreSQL cannot hold, which are told by their id. One
        bad row among many is found by halves."""
        try:
            await self._insert(rows)
        except UNFIT as error:
            if len(rows) == 1:
                return {rows[0].id: type(error).__name__}
        else:
            return {}
        half = len(rows) // 2
        refused = await self._insert_what_fits(rows[:half])
        return refused | await self._insert_what_fits(rows[half:])

    async def _run(self, pool: Pool, work: Work[Result]) -> Result:
        try:
            try:
                result = await pool.run(work)
            except ConnectionLost:
                # It was lost before this call, most likely, and nobody had looked since: once more,
                # on a new one. All that we do may be done twice.
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


def time_in(row_id: UUID) -> datetime:
    """The time in a UUIDv7, to the millisecond; nonsense for any other UUID."""
    return EPOCH + timedelta(milliseconds=min(row_id.int >> 80, MOST_MILLISECONDS))


def page_query(
    limit: int,
    cursor: str | None,
    label: str | None,
    since: datetime | None,
    until: datetime | None,
) -> tuple[str, list[Any]]:
    arguments: list[Any] = []
    conditions = []

    def add(condition: str, *values: Any) -> None:
        first = len(arguments) + 1
        arguments.extend(values)
        names = [f"${first + offset}" for offset in range(len(values))]
        conditions.append(condition.format(*names))

    if cursor is not None:
        # The first half says nothing new, but it is what PostgreSQL leaves partitions out by.
        add("created_at <= {0} AND (created_at, id) < ({0}, {1})", *_position(cursor))
    if label is not None:
        add("prediction = {}", label)
    if since is not None:
        add("created_at >= {}", since)
    if until is not None:
        add("created_at < {}", until)
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    limited, most_bytes = (f"${len(arguments) + place}" for place in (1, 2))
    arguments += [limit, PAGE_BYTES]
    # One more than asked for says whether there is a next page.
    rows = f"{SELECT} {where} ORDER BY created_at DESC, id DESC LIMIT {limited}::int + 1"
    return PAGE.format(rows=rows, most_bytes=most_bytes, limit=limited), arguments


def _cursor(created_at: datetime, row_id: UUID) -> str:
    return urlsafe_b64encode(
        CURSOR.pack((created_at - EPOCH) // MICROSECOND, row_id.bytes)
    ).decode()


def _position(cursor: str) -> tuple[datetime, UUID]:
    try:
        microseconds, raw = CURSOR.unpack(urlsafe_b64decode(cursor))
        return EPOCH + microseconds * MICROSECOND, UUID(bytes=raw)
    except (ValueError, OverflowError, struct.error):
        raise RequestError(
            "The cursor is not valid: pass `next` of an earlier answer as it was, or none."
        ) from None


def _as_json(record: asyncpg.Record) -> dict[str, Any]:
    row = dict(record)
    row.pop("more", None)
    row["id"] = str(row["id"])
    row["created_at"] = iso(row["created_at"])
    row["scores"] = json.loads(row["scores"]) if row["scores"] else None
    return row
