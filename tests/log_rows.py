"""Rows of the log as tests write and read them."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from sentiment_k8s.database import Database
from sentiment_k8s.pages import predictions
from sentiment_k8s.records import EPOCH, PredictionRow
from sentiment_k8s.search import Filters


def at(row: PredictionRow, time: datetime) -> PredictionRow:
    """The same row as of another time."""
    milliseconds = (time - EPOCH) // timedelta(milliseconds=1)
    lower = row.id.int & ((1 << 80) - 1)
    return replace(row, id=UUID(int=milliseconds << 80 | lower), created_at=time)


async def texts(database: Database, **filters: Any) -> list[str]:
    """All texts that pass some filters, page by page."""
    found, cursor = [], None
    while True:
        rows, cursor = await predictions(database, Filters(**filters), limit=2, cursor=cursor)
        found += [row["text"] for row in rows]
        if cursor is None:
            return found


async def plan(dsn: str, query: str, *arguments: object) -> str:
    connection = await asyncpg.connect(dsn)
    try:
        # A few rows are read fastest without any index; ask for what many rows would get.
        await connection.execute("SET enable_seqscan = off")
        rows = await connection.fetch(f"EXPLAIN {query}", *arguments)
    finally:
        await connection.close()
    return "\n".join(row[0] for row in rows)
