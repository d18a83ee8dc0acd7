"""A log of months, filled: the first and the last rows go in as the server inserts them, and are
timed."""

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from sentiment_k8s.database import Database
from sentiment_k8s.records import PredictionRow

from . import machine
from .report import percentile
from .rows import rows

BATCHES = (32, 256)
FILLERS = 4
TURNS = 10  # in which a share goes in, a tenth of each in small batches
WEEK = timedelta(weeks=1)

# A third of the time has gone by when the model changes; a canary gets one row in a thousand of one
# share.
MODEL = "bundled"
OLD_MODEL = "distilbert-base-uncased-finetuned-sst-2-english"
CANARY = "reviews-v2"

# The first share again, some shares later, as far as it falls into a week; under new ids.
REPEAT = """
INSERT INTO {table} (
    id, text, prediction, created_at, score, scores, model, revision, "precision", engine,
    tokens, truncated, queue_seconds, inference_seconds, request_id, subject
)
SELECT sentiment_uuidv7(at), text, prediction, at, score, scores,
    CASE WHEN share = {middle} AND random() < 0.001 THEN '{canary}'
        WHEN share < {third} THEN model ELSE '{new}' END,
    revision, "precision", engine, tokens, truncated, queue_seconds, inference_seconds, request_id,
    subject
FROM generate_series({first}, {last}) AS share, LATERAL (
    SELECT *, created_at + share * make_interval(secs => {span}) AS at FROM first_share
) AS row
WHERE at >= '{week}' AND at < '{next_week}'
"""

# What a table needs to join the log at once.
INDEXES = """
SELECT regexp_replace(
    pg_get_indexdef(indexrelid), 'INDEX .* ON .*predictions', 'INDEX ON predictions'
) AS definition
FROM pg_index WHERE indrelid = 'predictions'::regclass AND NOT indisprimary
"""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Rows over time, in equal shares of which the first and the last one are inserted."""

    begin: datetime
    end: datetime
    shares: int
    rows_a_share: int

    @property
    def span(self) -> timedelta:
        """What a share lasts."""
        return (self.end - self.begin) / self.shares

    def weeks(self) -> tuple[list[datetime], list[datetime]]:
        """The Mondays of the weeks in which rows are inserted, and of those between."""
        first, *others = (
            week
            for number in range((self.end - self.begin).days // 7 + 3)
            if (week := self._monday + number * WEEK) < self.end
        )
        between = [
            week
            for week in others
            if week > self.begin + self.span and week + WEEK < self.end - self.span
        ]
        return [first, *(week for week in others if week not in between)], between

    @property
    def _monday(self) -> datetime:
        midnight = self.begin.replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight - timedelta(days=midnight.weekday())


async def fill(
    dsn: str, database: Database, traffic: Traffic, corpus: list[str]
) -> list[dict[str, object]]:
    """Insert the first and the last rows as the server does; between them PostgreSQL repeats the
    first ones, week by week, each of which is indexed as it joins the log."""
    backend = await database.write(lambda session: session.fetchval("SELECT pg_backend_pid()"))

    async def insert_share(number: int, model: str) -> dict[str, object]:
        since = traffic.begin + number * traffic.span
        stream = rows(traffic.rows_a_share, since, since + traffic.span, model, corpus)
        line = await insert(database, stream, traffic.rows_a_share, backend)
        return {"rows": f"{(number + 1) * traffic.rows_a_share:,}"} | line

    ends, between = traffic.weeks()
    for week in ends:
        await execute(dsn, f"CREATE TABLE IF NOT EXISTS {partition(week)} {bounds(week)}")
    first = await insert_share(0, OLD_MODEL)
    await repeat(dsn, traffic, ends, between)
    return [first, await insert_share(traffic.shares - 1, MODEL)]


async def repeat(
    dsn: str, traffic: Traffic, ends: Sequence[datetime], between: Sequence[datetime]
) -> None:
    """Fill all shares but the first and the last."""
    few = asyncio.Semaphore(FILLERS)

    async def fill_week(week: datetime, table: str, *before: str, after: Sequence[str]) -> None:
        query = REPEAT.format(
            table=table,
            span=traffic.span.total_seconds(),
            first=max(1, (week - traffic.begin) // traffic.span),
            last=min(traffic.shares - 2, (week + WEEK - traffic.begin) // traffic.span),
            middle=traffic.shares // 2,
            third=traffic.shares // 3,
            canary=CANARY,
            new=MODEL,
            week=week,
            next_week=week + WEEK,
        )
        async with few:
            await execute(dsn, *before, query, *after)
        print(f"the week of {week:%Y-%m-%d}", flush=True)

    await execute(
        dsn,
        "CREATE UNLOGGED TABLE first_share AS SELECT * FROM predictions"
        f" WHERE created_at < '{traffic.begin + traffic.span}'",
    )
    indexes = [row["definition"] for row in await fetch(dsn, INDEXES)]
    async with asyncio.TaskGroup() as tasks:
        for week in between:
            table = partition(week)
            make = f"CREATE TABLE {table} (LIKE predictions INCLUDING DEFAULTS)"
            after = [
                "SET maintenance_work_mem = '256MB'",
                f"ALTER TABLE {table} ADD PRIMARY KEY (id, created_at)",
                *(definition.replace("predictions", table) for definition in indexes),
                f"ALTER TABLE predictions ATTACH PARTITION {table} {limits(week)}",
            ]
            tasks.create_task(fill_week(week, table, make, after=after))
        for week in ends:
            tasks.create_task(fill_week(week, "predictions", after=[]))
    await execute(dsn, "DROP TABLE first_share")


def partition(week: datetime) -> str:
    """The name of a week's table."""
    return f"predictions_{week:%Y%m%d}"


def bounds(week: datetime) -> str:
    """What makes a table that week's."""
    return f"PARTITION OF predictions {limits(week)}"


def limits(week: datetime) -> str:
    """The times that belong to a week."""
    return f"FOR VALUES FROM ('{week.isoformat()}') TO ('{(week + WEEK).isoformat()}')"


async def insert(
    database: Database, stream: Iterator[PredictionRow], count: int, backend: int
) -> dict[str, object]:
    """Rows by commits of each size, by turns."""
    seconds: dict[int, list[float]] = {size: [] for size in BATCHES}
    work = dict.fromkeys(BATCHES, 0.0)
    for _ in range(TURNS):
        part = list(itertools.islice(stream, count // TURNS))
        few = len(part) // 10
        for size, some in zip(BATCHES, (part[:few], part[few:]), strict=True):
            before = machine.cpu_seconds(backend)
            for first in range(0, len(some), size):
                started = time.perf_counter()
                await database.insert(some[first : first + size])
                seconds[size].append(time.perf_counter() - started)
            work[size] += machine.cpu_seconds(backend) - before
    line: dict[str, object] = {}
    for size, taken in seconds.items():
        number = size * len(taken)
        line[f"rows/s by {size}"] = round(number / sum(taken))
        line[f"CPU us a row by {size}"] = 1e6 * work[size] / number
        line |= {f"{name} ms by {size}": value for name, value in latencies(taken).items()}
    return line


def latencies(seconds: Sequence[float]) -> dict[str, float]:
    """In milliseconds."""
    return {
        "p50": 1000 * percentile(seconds, 50),
        "p99": 1000 * percentile(seconds, 99),
        "max": 1000 * max(seconds),
    }


async def execute(dsn: str, *statements: str) -> None:
    """Run statements outside any transaction."""
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def fetch(dsn: str, query: str) -> list[asyncpg.Record]:
    """Rows of a query."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(query)
    finally:
        await connection.close()
