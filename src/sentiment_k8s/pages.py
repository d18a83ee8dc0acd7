"""The log, read: pages of rows, newest first, and single rows."""

import json
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from .connections import UNFIT, Connection
from .database import Database
from .errors import RequestError
from .records import EPOCH, iso, time_in

PAGE_BYTES = 4 * 1024 * 1024  # of text, after which a page ends

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

CURSOR = struct.Struct(">q16s")  # microseconds since 1970, and the id: the last row that was seen
MICROSECOND = timedelta(microseconds=1)


async def predictions(
    database: Database,
    limit: int = 50,
    cursor: str | None = None,
    label: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of the log, newest first. It ends early, after at least one row, when its texts
    reach `PAGE_BYTES`.

    Args:
        database: the log.
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
        found = await database.read(fetch)
    except UNFIT as error:
        raise RequestError(
            f"There can be no such rows ({type(error).__name__}): check label, since and until."
        ) from None
    rows = [_as_json(row) for row in found]
    if not found or not found[-1]["more"]:
        return rows, None
    return rows, _cursor(found[-1]["created_at"], found[-1]["id"])


async def prediction(database: Database, row_id: UUID) -> dict[str, Any] | None:
    """One row, fit for JSON, or None."""

    async def fetch(connection: Connection) -> asyncpg.Record | None:
        # The time in the id names the partition. A row whose created_at was set by hand is
        # found by its id alone, in all of them.
        return await connection.fetchrow(
            BY_ID_AND_TIME, row_id, time_in(row_id)
        ) or await connection.fetchrow(BY_ID, row_id)

    found = await database.read(fetch)
    return None if found is None else _as_json(found)


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
