"""The one way to the database's schema: `upgrade` brings a database to `HEAD`.

A revision is named by four digits and only expands the schema (adds, fills in; never drops or
renames what the release before uses), so that old and new servers work side by side and an older
server can come back. Alembic and SQLAlchemy are imported only when there is something to do: the
server asks at every start, and the answer is nearly always that there is nothing.
"""

import asyncio
import importlib
import logging
import time

import asyncpg

from ..connections import NO_TABLES, bad_address, place_of, unavailable, words_of
from ..errors import DatabaseUnavailable, StartError

__all__ = ["HEAD", "upgrade"]

HEAD = "0003"

# Any constant will do; this one spells "sent".
LOCK = 0x73656E74
RETRY_SECONDS = 0.2
TELL_AGAIN_SECONDS = 10.0
ANSWER_SECONDS = 5.0

logger = logging.getLogger(__name__)


async def upgrade(
    dsn: str, *, wait_seconds: float = 0, answer_seconds: float = ANSWER_SECONDS
) -> str | None:
    """Bring the database to this release's schema; at once when it is there already.

    Any number of processes may call this at the same time: one works, the others wait for it. A
    session's lock is held, so behind PgBouncer use a direct connection or session pooling.

    Args:
        dsn: the database, as in `DATABASE_URL`.
        wait_seconds: for how long to wait for a PostgreSQL that cannot be reached.
        answer_seconds: time to connect, and time to say which revision there is.

    Returns:
        The revision that was found, None for a database without any.

    Raises:
        DatabaseUnavailable: PostgreSQL could not be reached within `wait_seconds`; the message is
            for the operator, since it says where it looked.
        StartError: the migration itself failed; the database is as it was.
        SettingsError: `dsn` is not a PostgreSQL address.
    """
    place = place_of(dsn)
    connection = await _connect(dsn, place, wait_seconds, answer_seconds)
    try:
        found = await _revision(connection)
        if _is_enough(found):
            return found
        await _lock(connection, place)
        found = await _revision(connection)
        if not _is_enough(found):
            await _upgrade(dsn, found)
        return found
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        lost = unavailable(error, place)
        if lost is None:
            raise
        raise lost from error
    finally:
        connection.terminate()  # which also lets go of the lock


async def _connect(
    dsn: str, place: str, wait_seconds: float, answer_seconds: float
) -> asyncpg.Connection:
    started = told = time.monotonic()
    while True:
        try:
            return await asyncpg.connect(
                dsn, timeout=answer_seconds, command_timeout=answer_seconds
            )
        except ValueError as error:
            raise bad_address(error) from None
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            lost = unavailable(error, place)
            if lost is None:
                raise
            now = time.monotonic()
            if now - started >= wait_seconds:
                raise lost from error
            if told == started or now - told > TELL_AGAIN_SECONDS:
                told = now
                logger.info("Waiting for PostgreSQL: %s", lost)
        await asyncio.sleep(RETRY_SECONDS)


async def _revision(connection: asyncpg.Connection) -> str | None:
    try:
        found: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        return None
    return found


def _is_enough(revision: str | None) -> bool:
    """Whether a schema serves this release: its own, or that of a newer one, which only added."""
    return revision is not None and revision.isdigit() and int(revision) >= int(HEAD)


async def _lock(connection: asyncpg.Connection, place: str) -> None:
    # Asking again and again, not pg_advisory_lock: a session that waits inside a statement holds a
    # snapshot, and a CREATE INDEX CONCURRENTLY of the one who works would wait for it for ever.
    told: float | None = None
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
        now = time.monotonic()
        if told is None or now - told > TELL_AGAIN_SECONDS:
            told = now
            logger.info("Waiting for another upgrade of the database at %s.", place)
        await asyncio.sleep(RETRY_SECONDS)


async def _upgrade(dsn: str, found: str | None) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of its own plugins
    # In a thread: a server that found its PostgreSQL empty answers meanwhile.
    await asyncio.to_thread(importlib.import_module, f"{__name__}.runner")
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    from .runner import run_upgrade

    logger.info("Upgrading the database from %s to %s.", found or "nothing", HEAD)
    try:
        await run_upgrade(dsn)
    except SQLAlchemyError as error:
        # asyncpg's own error, in SQLAlchemy's wrapping of a wrapping
        cause = error.orig.__cause__ if isinstance(error, DBAPIError) and error.orig else None
        cause = cause or error
        lost = unavailable(cause, place_of(dsn))
        # What a migration misses no other upgrade will bring.
        if isinstance(lost, DatabaseUnavailable) and not isinstance(cause, NO_TABLES):
            raise lost from error
        raise StartError(
            f"The database could not be brought from {found or 'nothing'} to {HEAD} and is as it "
            f"was: {words_of(cause)}."
        ) from error
