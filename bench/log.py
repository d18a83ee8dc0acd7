"""The log with millions of rows: how fast rows go in, pages come out, and old weeks go.

    .venv/bin/python -m bench.log --rows 10000000

Needs 7 GB of disk for ten million rows, and a while: most of it is the filling.
"""

import argparse
import asyncio
import itertools
import random
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import asyncpg

from sentiment_k8s import pages, retention, stats
from sentiment_k8s.database import Database
from sentiment_k8s.migrations import upgrade
from sentiment_k8s.postgres import EmbeddedPostgres
from sentiment_k8s.search import Filters

from . import machine
from .fill import BATCHES, CANARY, MODEL, OLD_MODEL, Traffic, execute, fill, latencies
from .report import save, table
from .rows import RARE_LABEL, RARE_WORD, rows, sentences
from .texts import sst2_folder

PATIENCE_SECONDS = 120.0  # we want to see a slow commit or page, not to give it up
HOUR = timedelta(hours=1)

# The words are in 60 %, 10 %, 3 %, 1 %, 0.3 %, 0.1 % and 0.01 % of the texts, in one
# in 100,000, in none.
WORDS = ("the", "movie", "time", "feels", "terrible", "crucial", "hotels", RARE_WORD, "zyzzyva")
KINDS = {
    "newest": Filters(),
    "label": Filters(label="POSITIVE"),
    "label, rare": Filters(label=RARE_LABEL),
    "label, none": Filters(label="nobody"),
    "model": Filters(model=MODEL),
    "model, the one before": Filters(model=OLD_MODEL),
    "model, a canary": Filters(model=CANARY),
    "model, none": Filters(model="nothing"),
    "score over 0.9": Filters(min_score=0.9),
    "score 0.5 to 0.55": Filters(min_score=0.5, max_score=0.55),
    "score 0.5 to 0.5001": Filters(min_score=0.5, max_score=0.5001),
    "score under 0.4": Filters(max_score=0.4),
    "label, score 0.5 to 0.55": Filters(label="NEGATIVE", min_score=0.5, max_score=0.55),
    **{f"text: {word}": Filters(text=word) for word in WORDS},
    "text: good movie -bad": Filters(text="good movie -bad"),
    'text: "so bad"': Filters(text='"so bad"'),
    "text: movie, rare label": Filters(text="movie", label=RARE_LABEL),
    "text: movie, score 0.5 to 0.5001": Filters(text="movie", min_score=0.5, max_score=0.5001),
}

SIZES = """
SELECT parent.relname AS what, sum(pg_table_size(inhrelid)) AS bytes
FROM pg_inherits JOIN pg_class AS parent ON parent.oid = inhparent
WHERE parent.relkind IN ('p', 'I')
GROUP BY 1 ORDER BY 2 DESC
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--inserted", type=int, default=1_000_000, help="rows, at each end")
    parser.add_argument("--days", type=int, default=75, help="of traffic")
    parser.add_argument("--pages", type=int, default=100, help="of each kind")
    parser.add_argument("--folder", type=Path, help="where the data goes; ~/.cache by default")
    parser.add_argument("--drop", nargs="*", default=[], metavar="INDEX", help="do without these")
    parser.add_argument("--sst2", type=Path, metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="PATH")
    options = parser.parse_args()
    print(machine.described(), flush=True)
    with scratch(options.folder or machine.cache()) as dsn:
        save(options.json, asyncio.run(measure(dsn, options)))


@contextmanager
def scratch(parent: Path) -> Iterator[str]:
    """The address of a PostgreSQL of our own, with fsync, thrown away at the end."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="log-", dir=parent))
    try:
        with EmbeddedPostgres(folder) as postgres:
            yield postgres.start()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def measure(dsn: str, options: argparse.Namespace) -> dict[str, object]:
    """Fill the log and ask everything of it."""
    await upgrade(dsn)
    end = datetime.now(UTC)
    begin = end - timedelta(days=options.days)
    traffic = Traffic(begin, end, options.rows // options.inserted, options.inserted)
    corpus = sentences(options.sst2 or sst2_folder())
    await execute(dsn, *(f"DROP INDEX {index}" for index in options.drop))
    database = Database(dsn, write_seconds=PATIENCE_SECONDS, read_seconds=PATIENCE_SECONDS)
    found: dict[str, object] = {"machine": machine.facts()}
    try:
        found["fill"] = report("Rows going in", await fill(dsn, database, traffic, corpus))
        await execute(dsn, "VACUUM (ANALYZE) predictions")  # as autovacuum does in 75 days
        found["sizes"] = report("Size", await sizes(dsn))
        found["pages"] = report("Pages", await read_pages(database, begin, end, options.pages))
        found["stats"] = report("/stats", await read_stats(database, end))
        found["prune"] = report("Prune", [await prune(dsn, database, end)])
    finally:
        await database.close()
    return found


async def sizes(dsn: str) -> list[dict[str, object]]:
    """The table and its indexes, over all partitions."""
    connection = await asyncpg.connect(dsn)
    try:
        found = await connection.fetch(SIZES)
        total = await connection.fetchval("SELECT count(*) FROM predictions")
    finally:
        await connection.close()
    return [
        {
            "what": row["what"],
            "MB": float(row["bytes"]) / 1e6,
            "bytes a row": round(row["bytes"] / total),
        }
        for row in found
    ]


async def read_pages(
    database: Database, begin: datetime, end: datetime, count: int
) -> list[dict[str, object]]:
    """Pages of each kind: the first one, from a cursor anywhere, and within an hour."""
    chance = random.Random(3)

    def anywhere() -> datetime:
        return begin + chance.random() * (end - begin)

    lines = []
    for name, filters in KINDS.items():
        cursors = []
        for _ in range(count):
            before = await pages.predictions(database, Filters(until=anywhere()), limit=1)
            cursors.append(before[1])
        hours = [anywhere() for _ in range(count)]
        calls = {
            "first": [partial(pages.predictions, database, filters)] * count,
            "deep": [partial(pages.predictions, database, filters, 50, at) for at in cursors],
            "an hour": [
                partial(pages.predictions, database, replace(filters, since=at, until=at + HOUR))
                for at in hours
            ],
        }
        line: dict[str, object] = {"page": name}
        for where, some in calls.items():
            taken = await timed(database, some)
            line |= {f"{where} {part}": value for part, value in taken.items()}
        lines.append(line)
    return lines


async def read_stats(database: Database, end: datetime) -> list[dict[str, object]]:
    """What the page asks for: a day by hours, against the week before."""
    look = partial(stats.stats, database, end - timedelta(days=1), end, 24, timedelta(days=7))
    return [{"of": "24 h"} | await timed(database, [look] * 5)]


async def prune(dsn: str, database: Database, end: datetime) -> dict[str, object]:
    """Drop the older half of the weeks while rows go in."""
    stream = rows(1_000_000, end, end + HOUR, MODEL, ["whatever is said meanwhile"])
    quiet: list[float] = []
    beside: list[float] = []
    done = asyncio.Event()

    async def keep_inserting() -> None:
        while not done.is_set():
            batch = list(itertools.islice(stream, BATCHES[0]))
            taken = beside if started.is_set() else quiet
            began = time.perf_counter()
            await database.insert(batch)
            taken.append(time.perf_counter() - began)

    started = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(keep_inserting())
        await asyncio.sleep(5)
        started.set()
        began = time.perf_counter()
        pruned = await retention.prune(dsn, timedelta(days=30))
        seconds = time.perf_counter() - began
        done.set()
    line: dict[str, object] = {"partitions": len(pruned.partitions), "seconds": f"{seconds:.3f}"}
    for when, taken in {"before": quiet, "meanwhile": beside}.items():
        line |= {f"insert {name} {when}": value for name, value in latencies(taken).items()}
    return line


async def timed(
    database: Database, calls: Sequence[Callable[[], Awaitable[object]]]
) -> dict[str, float]:
    """Latencies of calls, one after the other, and the CPU time of one: ours and PostgreSQL's."""
    backend = await database.read(lambda session: session.fetchval("SELECT pg_backend_pid()"))
    work = machine.cpu_seconds(backend) + time.process_time()
    seconds = []
    for call in calls:
        started = time.perf_counter()
        await call()
        seconds.append(time.perf_counter() - started)
    work = machine.cpu_seconds(backend) + time.process_time() - work
    return latencies(seconds) | {"CPU": 1000 * work / len(calls)}


def report(title: str, lines: list[dict[str, object]]) -> object:
    """Say it at once: the whole takes long."""
    print(f"\n{title}\n\n{table(lines)}\n", flush=True)
    return lines


if __name__ == "__main__":
    main()
