"""What leaves the log: whole weeks when they are old, and a person's rows when they ask.

Inserts do not wait for it: what needs the table for itself for a moment asks for it, gives way when
it does not get it at once, and asks again.
"""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import asyncpg

from .connections import bad_address, place_of, unavailable

CONNECT_SECONDS = 5.0
# For so long inserts may queue behind us, while we wait for a reader or a writer to end; then they
# have the table for twice as long or more.
LOCK_SECONDS = 0.1
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0
PATIENCE_SECONDS = 300.0
CHUNK_ROWS = 5_000

# Partitions that end before a time. A bound reads FOR VALUES FROM ('...') TO ('...').
OLD_PARTITIONS = r"""
SELECT partition FROM (
    SELECT inhrelid::regclass::text AS partition,
        substring(pg_get_expr(relpartbound, oid) FROM 'TO \(''([^'']+)''\)')::timestamptz AS until
    FROM pg_inherits JOIN pg_class ON oid = inhrelid
    WHERE inhparent = 'predictions'::regclass
) AS part
WHERE until <= $1 ORDER BY until
"""
OLD_ROWS = "predictions_default WHERE created_at < $1"
OLD_FEEDBACK = "feedback WHERE predicted_at < $1"
OLD_KEYS = "idempotency_keys WHERE expires_at < $1"

NOTE_ERASURE = """
INSERT INTO erasures (what, salt, digests) VALUES ($1, $2, $3) RETURNING id
"""
# Up to eight of a text's words, as a query. The longest are the rarest, mostly.
WORDS_OF = """
SELECT coalesce(string_agg(quote_literal(lexeme), ' & '), '') FROM (
    SELECT lexeme FROM unnest(sentiment_words($1)) ORDER BY length(lexeme) DESC LIMIT 8
) AS word
"""
ERASE = """
WITH erased AS (
    DELETE FROM predictions WHERE {rows} RETURNING id, created_at, tableoid::regclass AS partition
), corrected AS (
    DELETE FROM feedback USING erased
    WHERE predicted_at = erased.created_at AND prediction_id = erased.id RETURNING prediction_id
), replayed AS (
    DELETE FROM idempotency_keys WHERE key IN (
        SELECT key FROM idempotency_keys, unnest(ids) AS id WHERE id IN (SELECT id FROM erased)
    ) RETURNING key
)
UPDATE erasures SET
    rows = (SELECT count(*) FROM erased), feedback = (SELECT count(*) FROM corrected)
WHERE id = $1
RETURNING rows, feedback, (SELECT count(*) FROM replayed) AS keys,
    ARRAY(SELECT DISTINCT partition::text FROM erased) AS partitions
"""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What is gone, all of it older than `before`: weekly partitions, rows that lay in none, and
    feedback; besides, idempotency keys that had expired."""

    before: datetime
    partitions: list[str]
    rows: int
    feedback: int
    keys: int


@dataclass(frozen=True, slots=True)
class Erased:
    """How much is gone."""

    rows: int
    feedback: int
    keys: int


async def prune(dsn: str, keep: timedelta, *, patience_seconds: float = PATIENCE_SECONDS) -> Pruned:
    """Drop what is old, in whole weeks: the week that lies `keep` back stays, with all since.

    Args:
        dsn: the database, as in `DATABASE_URL`.
        keep: how far back rows are kept, at least.
        patience_seconds: for how long to ask for a partition that others use.

    Raises:
        DatabaseUnavailable: PostgreSQL cannot be reached, or others did not let go in time. What
            is gone is gone; the next call does the rest.
        SettingsError: `dsn` is not a PostgreSQL address.
    """
    now = datetime.now(UTC)
    before = _start_of_week(now - keep)
    async with _connected(dsn) as connection:
        partitions = [row["partition"] for row in await connection.fetch(OLD_PARTITIONS, before)]
        for partition in partitions:
            await _alone(connection, f"DROP TABLE IF EXISTS {partition}", patience_seconds)
        return Pruned(
            before=before,
            partitions=partitions,
            rows=await _delete(connection, OLD_ROWS, before),
            feedback=await _delete(connection, OLD_FEEDBACK, before),
            keys=await _delete(connection, OLD_KEYS, now),
        )


async def erase(
    dsn: str,
    what: Literal["text", "subject"],
    forms: Sequence[str],
    *,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Erased:
    """Delete all rows of a text or of a person, their feedback and their idempotency keys, and
    leave a line in `erasures`, which holds neither. By it, rows that lie in a spool now are left
    out when that drains, as are those that come there within the next minute (a server's clock may
    be ahead). A row that a server is about to write to PostgreSQL may still come after it.

    A text is found through the index of words and then compared exactly; one without any word, and
    a person, by reading the whole table, beside the traffic.

    Args:
        dsn: the database, as in `DATABASE_URL`.
        what: which of the two it is.
        forms: the subject, or all that the log may have kept of the text.
        patience_seconds: for how long to wait for a writer that does not end.

    Raises:
        DatabaseUnavailable: PostgreSQL cannot be reached, or others did not let go in time: call it
            again.
        SettingsError: `dsn` is not a PostgreSQL address.
    """
    salt = os.urandom(16)
    digests = [hashlib.sha256(salt + form.encode()).digest() for form in forms]
    async with _connected(dsn) as connection:
        erasure = await connection.fetchval(NOTE_ERASURE, what, salt, digests)
        # From now on no drain brings such rows. Those under way, which cannot know yet, have ended
        # when we get the table, so that all rows are there to be seen.
        await _alone(connection, "LOCK TABLE ONLY predictions IN SHARE MODE", patience_seconds)
        rows, arguments = await _rows_of(connection, what, forms)
        found = await connection.fetchrow(ERASE.format(rows=rows), erasure, *arguments)
        assert found is not None  # noqa: S101  # the line that was noted above
        # A deleted row stays on disk until vacuum passes, which for a few rows it hardly ever does.
        for partition in found["partitions"]:
            await connection.execute(f"VACUUM (INDEX_CLEANUP ON) {partition}")
        return Erased(found["rows"], found["feedback"], found["keys"])


async def _rows_of(
    connection: asyncpg.Connection, what: Literal["text", "subject"], forms: Sequence[str]
) -> tuple[str, list[str]]:
    """The condition by which rows are found, and its arguments from $2 on."""
    conditions = []
    arguments: list[str] = []
    for form in forms:
        arguments.append(form)
        condition = f"{what} = ${len(arguments) + 1}"
        if what == "text" and (words := await connection.fetchval(WORDS_OF, form)):
            arguments.append(words)
            condition += f" AND sentiment_words(text) @@ ${len(arguments) + 1}::text::tsquery"
        conditions.append(f"({condition})")
    return " OR ".join(conditions), arguments


async def _alone(connection: asyncpg.Connection, statement: str, patience_seconds: float) -> None:
    """Run what has to wait for everybody on the table, while everybody else waits for it."""
    give_up = time.monotonic() + patience_seconds
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = {round(LOCK_SECONDS * 1000)}")
                await connection.execute(statement)
            return
        except asyncpg.LockNotAvailableError:
            if time.monotonic() + pause > give_up:
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


async def _delete(connection: asyncpg.Connection, rows: str, before: datetime) -> int:
    """Delete some at a time, so that nobody waits for a row of ours for long."""
    table = rows.partition(" ")[0]
    chunk = f"SELECT ctid FROM {rows} LIMIT {CHUNK_ROWS}"  # noqa: S608  # constants of ours
    total = 0
    while True:
        status = await connection.execute(
            f"DELETE FROM {table} WHERE ctid = ANY (ARRAY({chunk}))",  # noqa: S608
            before,
        )
        deleted = int(status.rpartition(" ")[2])
        total += deleted
        if deleted < CHUNK_ROWS:
            return total


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    place = place_of(dsn)
    try:
        try:
            connection = await asyncpg.connect(
                dsn, timeout=CONNECT_SECONDS, server_settings={"application_name": "sentiment db"}
            )
        except ValueError as error:
            raise bad_address(error) from None
        try:
            yield connection
        finally:
            await connection.close()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        lost = unavailable(error, place)
        if lost is None:
            raise
        raise lost from error


def _start_of_week(moment: datetime) -> datetime:
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=midnight.weekday())
