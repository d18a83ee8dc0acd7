"""The log in figures, all of them computed by PostgreSQL."""

from datetime import datetime
from typing import Any

import asyncpg

from .connections import Connection
from .database import Database
from .records import iso

COUNT = """
SELECT date_bin($3, created_at, $1) AS start, prediction, count(*) AS count
FROM predictions
WHERE created_at >= $1 AND created_at < $2 AND prediction IS NOT NULL
GROUP BY 1, 2
"""


async def stats(
    database: Database, since: datetime, until: datetime, buckets: int
) -> dict[str, Any]:
    """How many rows of each label there are, over time, fit for JSON.

    Args:
        database: the log.
        since: start of the first bucket, with a time zone.
        until: end of the last one.
        buckets: how many of equal width.
    """
    width = (until - since) / buckets

    async def count(connection: Connection) -> list[asyncpg.Record]:
        return await connection.fetch(COUNT, since, until, width)

    counts: list[dict[str, int]] = [{} for _ in range(buckets)]
    totals: dict[str, int] = {}
    for row in await database.read(count):
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
