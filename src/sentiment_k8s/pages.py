"""The log, read: pages of rows, newest first, and single rows."""

import json
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from .connections import UNFIT, Connection
from .database import Database
from .errors import RequestError
from .records import EPOCH, iso, time_in
from .search import COLUMNS, Filters, Found, Position, find

SELECT = f"SELECT {COLUMNS} FROM predictions"  # noqa: S608  # the names of columns are ours
ROW = f"""
SELECT {COLUMNS}, label AS feedback_label, comment, given_at
FROM predictions LEFT JOIN feedback ON predicted_at = created_at AND prediction_id = id
WHERE id = $1
"""  # noqa: S608
BY_ID_AND_TIME = f"{ROW} AND created_at = $2"
BY_ID = f"{ROW} LIMIT 1"

CURSOR = struct.Struct(">q16s")  # microseconds since 1970, and the id: the last row that was seen
MICROSECOND = timedelta(microseconds=1)
FEEDBACK = {"label": "feedback_label", "comment": "comment", "given_at": "given_at"}


async def predictions(
    database: Database,
    filters: Filters = Filters(),  # noqa: B008  # it is frozen
    limit: int = 50,
    cursor: str | None = None,
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of the log, newest first. It ends early when its texts reach `PAGE_BYTES`, after at
    least one row, and when many rows had to be looked at, perhaps with none.

    Args:
        database: the log.
        filters: which rows.
        limit: rows in the page, at most.
        cursor: where the page before ended, as it said; None for the newest.

    Returns:
        The rows, fit for JSON, and the cursor of the next page, None at the end. Rows that
        come in meanwhile neither shift nor repeat what later pages show.

    Raises:
        RequestError: the cursor is not one that an earlier page gave, or a filter can match
            nothing.
    """
    position = None if cursor is None else _position(cursor)

    async def fetch(connection: Connection) -> Found:
        return await find(connection, filters, limit, position)

    try:
        found = await database.read(fetch)
    except UNFIT as error:
        raise RequestError(
            f"There can be no such rows ({type(error).__name__}): check the filters."
        ) from None
    rows = [_as_json(row) for row in found.rows]
    return rows, None if found.position is None else _cursor(found.position)


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
    feedback = {name: row.pop(key) for name, key in FEEDBACK.items()}
    row["feedback"] = None
    if feedback["label"] is not None:
        row["feedback"] = feedback | {"given_at": iso(feedback["given_at"])}
    return row
