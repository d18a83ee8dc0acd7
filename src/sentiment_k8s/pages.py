"""The log, read: pages of rows, newest first, and single rows."""

import json
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from .connections import UNFIT, Connection
from .database import Database
from .errors import RequestError
from .records import EPOCH, iso, time_in
from .search import COLUMNS, PAGE_BYTES, Filters, Found, Position, find

SELECT = f"SELECT {COLUMNS} FROM predictions"  # noqa: S608  # the names of columns are ours
ROW = f"""
SELECT {COLUMNS}, label AS feedback_label, comment, given_at
FROM predictions LEFT JOIN feedback ON predicted_at = created_at AND prediction_id = id
WHERE id = $1
"""  # noqa: S608
BY_ID_AND_TIME = f"{ROW} AND created_at = $2"
BY_ID = f"{ROW} LIMIT 1"

PART_ROWS = 500
PART_BYTES = 256 * 1024  # of text: a client that does not read keeps one part in memory

CURSOR = struct.Struct(">q16s")  # microseconds since 1970, and the id: the last row that was seen
MICROSECOND = timedelta(microseconds=1)


async def predictions(
    database: Database,
    filters: Filters = Filters(),  # noqa: B008  # it is frozen
    limit: int = 50,
    cursor: str | None = None,
    page_bytes: int = PAGE_BYTES,
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of the log, newest first. It ends early when its texts reach `page_bytes`, after at
    least one row, and when many rows had to be looked at, perhaps with none.

    Args:
        database: the log.
        filters: which rows.
        limit: rows in the page, at most.
        cursor: where the page before ended, as it said; None for the newest.
        page_bytes: of texts, at most, where there is more than one.

    Returns:
        The rows, fit for JSON, and the cursor of the next page, None at the end. Rows that
        come in meanwhile neither shift nor repeat what later pages show.

    Raises:
        RequestError: the cursor is not one that an earlier page gave, or a filter can match
            nothing.
    """
    position = None if cursor is None else _position(cursor)

    async def fetch(connection: Connection) -> Found:
        return await find(connection, filters, limit, position, page_bytes)

    try:
        found = await database.read(fetch)
    except UNFIT as error:
        raise RequestError(
            f"There can be no such rows ({type(error).__name__}): check the filters."
        ) from None
    rows = [_as_json(row) for row in found.rows]
    return rows, None if found.position is None else _cursor(found.position)


async def all_predictions(
    database: Database,
    filters: Filters = Filters(),  # noqa: B008  # it is frozen
    most: int | None = None,
    cursor: str | None = None,
) -> AsyncIterator[list[dict[str, Any]]]:
    """All rows that pass some filters, newest first, a part at a time: little of them is in memory,
    and no connection is held while the caller does something with a part.

    Args:
        database: the log.
        filters: which rows.
        most: rows in all.
        cursor: as of `predictions`.

    Raises:
        RequestError: as `predictions`, before the first part.
        DatabaseUnavailable: PostgreSQL went away; what came is whole, but not all.
    """
    while most is None or most > 0:
        limit = PART_ROWS if most is None else min(most, PART_ROWS)
        rows, cursor = await predictions(database, filters, limit, cursor, PART_BYTES)
        if rows:
            yield rows
        if cursor is None:
            return
        most = None if most is None else most - len(rows)


async def prediction(database: Database, row_id: UUID) -> dict[str, Any] | None:
    """One row, fit for JSON, or None."""

    async def fetch(connection: Connection) -> asyncpg.Record | None:
        return await find_row(connection, row_id)

    found = await database.read(fetch)
    return None if found is None else _as_json(found)


async def find_row(connection: Connection, row_id: UUID) -> asyncpg.Record | None:
    """One row as it is, or None."""
    # The time in the id names the partition. A row whose created_at was set by hand is found by
    # its id alone, in all of them.
    return await connection.fetchrow(
        BY_ID_AND_TIME, row_id, time_in(row_id)
    ) or await connection.fetchrow(BY_ID, row_id)


def _cursor(position: Position) -> str:
    time, row_id = position
    return urlsafe_b64encode(CURSOR.pack((time - EPOCH) // MICROSECOND, row_id.bytes)).decode()


def _position(cursor: str) -> Position:
    try:
        microseconds, raw = CURSOR.unpack(urlsafe_b64decode(cursor))
        return EPOCH + microseconds * MICROSECOND, UUID(bytes=raw)
    except (ValueError, OverflowError, struct.error):
        raise RequestError(
            "The cursor is not valid: pass `next` of an earlier answer as it was, or none."
        ) from None


def _as_json(record: asyncpg.Record) -> dict[str, Any]:
    row = dict(record)
    for name in ("matches", "looked_at", "more"):
        row.pop(name, None)
    row["id"] = str(row["id"])
    row["created_at"] = iso(row["created_at"])
    row["scores"] = json.loads(row["scores"]) if row["scores"] else None
    row["feedback"] = feedback_as_json(row)
    return row


def feedback_as_json(row: dict[str, Any]) -> dict[str, Any] | None:
    """Take the columns of a row's feedback out of it, fit for JSON; None if it has none."""
    label, comment, given_at = (row.pop(name) for name in ("feedback_label", "comment", "given_at"))
    return label and {"label": label, "comment": comment, "given_at": iso(given_at)}
