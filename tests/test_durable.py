import asyncio
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import asyncpg
import pytest
from pydantic_core import to_json

from sentiment_k8s.database import Database
from sentiment_k8s.durable import FIRST_ROWS, DurableLog
from sentiment_k8s.errors import DatabaseUnavailable, RowsRefused
from sentiment_k8s.metrics import Metrics
from sentiment_k8s.migrations import upgrade
from sentiment_k8s.postgres import EmbeddedPostgres
from sentiment_k8s.spool import Spool
from sentiment_k8s.spool.format import encode, parts, payload_of
from sentiment_k8s.testing import example_row

from .postgres_fixtures import execute, fetch

PLENTY = 64 * 1024 * 1024
COMMIT_SECONDS = 0.3

NO_DISK = """
CREATE FUNCTION no_disk() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER no_disk BEFORE INSERT ON predictions FOR EACH ROW EXECUTE FUNCTION no_disk()
"""
SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(0.25); RETURN NULL; END $$;
CREATE TRIGGER slow BEFORE INSERT ON predictions FOR EACH STATEMENT EXECUTE FUNCTION slow()
"""
# Not DROP TRIGGER, whose locks on the table and its partitions can meet an insert's in a deadlock.
OVER = """
CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$
"""
COUNTED = """
CREATE TABLE chunks ();
CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO chunks DEFAULT VALUES; RETURN NULL; END $$;
CREATE TRIGGER counted AFTER INSERT ON predictions FOR EACH STATEMENT EXECUTE FUNCTION counted()
"""
ERASE = """
INSERT INTO erasures (what, salt, digests)
SELECT 'text', 'salt', ARRAY[sha256('salt' || convert_to($1, 'UTF8'))]
"""


@asynccontextmanager
async def durable_log(
    dsn: str, folder: Path, *, max_bytes: int = PLENTY, known: bool = True
) -> AsyncIterator[DurableLog]:
    """A log over this database; `known` to be there, as after a start."""
    database, metrics = Database(dsn, write_seconds=COMMIT_SECONDS), Metrics()
    if known:
        with suppress(DatabaseUnavailable):
            await database.ensure_partitions()
    log = DurableLog(database, Spool(folder, max_bytes, metrics), metrics, COMMIT_SECONDS)
    try:
        yield log
    finally:
        await log.close(time.monotonic())
        await database.close()


async def wait_for(what: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not what():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.005)


async def drained(log: DurableLog) -> None:
    await wait_for(lambda: not log.away and not log.spool.rows)


async def insert(log: DurableLog, *texts: str) -> None:
    await log.insert([example_row(text) for text in texts])


async def logged(dsn: str) -> list[str]:
    """The texts in PostgreSQL, in the order of their commits."""
    rows = await fetch(dsn, "SELECT text FROM predictions ORDER BY xmin::text::bigint, id")
    return [row["text"] for row in rows]


def left_in(folder: Path, pattern: str = "*.spool") -> list[Path]:
    return list(folder.glob(pattern))


def count(log: DurableLog, name: str) -> float | None:
    return log._metrics.registry.get_sample_value(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@asynccontextmanager
async def locked_table(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Inserts wait meanwhile, except on this connection."""
    other = await asyncpg.connect(dsn)
    try:
        async with other.transaction():
            await other.execute("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
            yield other
    finally:
        await other.close()


# To the spool, and back


async def test_with_postgresql_there_rows_go_to_it_and_nothing_to_the_spool(
    database_dsn: str, folder: Path
) -> None:
    async with durable_log(database_dsn, folder) as log:
        await insert(log, "one")
        assert not log.away
        assert await logged(database_dsn) == ["one"]
    assert not left_in(folder)


async def test_a_commit_that_is_slow_once_goes_on_in_the_spool_and_is_one_row(
    database_dsn: str, folder: Path
) -> None:
    async with durable_log(database_dsn, folder) as log:
        async with locked_table(database_dsn):
            began = time.monotonic()
            await insert(log, "slow")
            assert time.monotonic() - began < 3 * COMMIT_SECONDS
            assert log.away
            await insert(log, "after it")
            assert log.spool.rows == 2
        await drained(log)
        await insert(log, "direct")
        assert sorted(await logged(database_dsn)) == ["after it", "direct", "slow"]
        assert count(log, "sentiment_spooled_rows_total") == 2
        assert count(log, "sentiment_drained_rows_total") == 2


async def test_a_hung_postgresql_is_waited_for_once_and_not_again(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it is connected to, but no more
        port = silent.getsockname()[1]
        async with durable_log(f"postgresql://user@127.0.0.1:{port}/ai_db", folder) as log:
            log.away = False
            began = time.monotonic()
            await insert(log, "one")
            assert COMMIT_SECONDS <= time.monotonic() - began < 3 * COMMIT_SECONDS
            began = time.monotonic()
            await insert(log, "two")
            assert time.monotonic() - began < COMMIT_SECONDS
            assert log.spool.rows == 2


async def test_a_postgresql_that_refuses_connections_is_away(
    unused_tcp_port: int, folder: Path
) -> None:
    async with durable_log(f"postgresql://127.0.0.1:{unused_tcp_port}/ai_db", folder) as log:
        await insert(log, "one")
        assert log.away
        assert log.spool.rows == 1


async def test_a_standby_is_away(database_dsn: str, folder: Path) -> None:
    read_only = f"{database_dsn}?default_transaction_read_only=on"
    async with durable_log(read_only, folder) as log:
        await insert(log, "one")
        assert log.spool.rows == 1


async def test_a_postgresql_without_our_tables_is_away_until_they_are_made(
    empty_dsn: str, folder: Path
) -> None:
    async with durable_log(empty_dsn, folder) as log:
        await insert(log, "one")
        assert log.spool.rows == 1
        await upgrade(empty_dsn)
        await drained(log)
    assert await logged(empty_dsn) == ["one"]


async def test_a_postgresql_with_an_older_releases_tables_is_away_until_they_are_upgraded(
    database_dsn: str, folder: Path
) -> None:
    older = "ALTER TABLE predictions DROP COLUMN engine; UPDATE alembic_version SET version_num = "
    await execute(database_dsn, f"{older} '0002'")
    async with durable_log(database_dsn, folder) as log:
        await insert(log, "one")
        assert log.spool.rows == 1
        await upgrade(database_dsn)
        await drained(log)
    assert await logged(database_dsn) == ["one"]


async def test_a_postgresql_without_disk_space_is_away(database_dsn: str, folder: Path) -> None:
    async with durable_log(database_dsn, folder) as log:
        await execute(database_dsn, NO_DISK)
        await insert(log, "one")
        await insert(log, "two")
        assert log.spool.rows == 2
        await execute(database_dsn, OVER.format("no_disk"))
        await drained(log)
    assert await logged(database_dsn) == ["one", "two"]


async def test_a_postgresql_out_of_connections_is_away(
    postgres: EmbeddedPostgres, folder: Path
) -> None:
    dsn = postgres.start()
    await upgrade(dsn)
    others = []
    with suppress(asyncpg.TooManyConnectionsError):
        while True:
            others.append(await asyncpg.connect(dsn))
    async with durable_log(dsn, folder) as log:
        await insert(log, "one")
        assert log.spool.rows == 1
        for other in others:
            await other.close()
        await drained(log)
    assert await logged(dsn) == ["one"]


async def test_a_postgresql_that_is_too_slow_to_wait_for_gets_rows_by_the_spool_alone(
    database_dsn: str, folder: Path
) -> None:
    async with durable_log(database_dsn, folder) as log:
        await execute(database_dsn, SLOW)
        await insert(log, "one")
        await wait_for(lambda: not log.spool.rows)
        assert log.away
        await execute(database_dsn, OVER.format("slow"))
        await drained(log)  # found without another row
    assert await logged(database_dsn) == ["one"]


async def test_a_start_without_postgresql_waits_for_nobody_and_finds_it_without_a_row(
    database_dsn: str, folder: Path
) -> None:
    async with durable_log(database_dsn, folder, known=False) as log:
        assert log.away
        await drained(log)
        await insert(log, "one")
        assert await logged(database_dsn) == ["one"]


# The drain


async def test_the_spool_is_drained_in_order_while_new_rows_go_to_postgresql(
    database_dsn: str, folder: Path
) -> None:
    spool = Spool(folder, PLENTY, Metrics())
    old = [f"{number:04}" for number in range(3000)]
    spool.append([example_row(text) for text in old])
    spool.close()
    async with durable_log(database_dsn, folder, known=False) as log:
        await wait_for(lambda: not log.away)
        await insert(log, "new")
        await drained(log)
    found = await logged(database_dsn)
    assert [text for text in found if text != "new"] == old
    assert "new" in found[:-500]


async def test_a_postgresql_killed_during_the_drain_has_every_row_once_in_the_end(
    postgres: EmbeddedPostgres, folder: Path
) -> None:
    dsn = postgres.start()
    await upgrade(dsn)
    spool = Spool(folder, PLENTY, Metrics())
    old = [f"{number:05}" for number in range(10_000)]
    spool.append([example_row(text) for text in old])
    spool.close()
    async with durable_log(dsn, folder) as log:
        for most in (8000, 5000):
            await wait_for(partial(lambda most: log.spool.rows < most, most))
            assert postgres.pid
            os.kill(postgres.pid, signal.SIGKILL)
            await insert(log, f"while it was dead {most}")
            await asyncio.to_thread(postgres.start)
        await drained(log)
    found = await logged(dsn)
    assert [text for text in found if len(text) == 5] == old
    assert len(found) == len(old) + 2


async def test_rows_that_are_there_already_are_not_written_again(
    database_dsn: str, folder: Path
) -> None:
    row = example_row("once")
    async with durable_log(database_dsn, folder) as log:
        await log.insert([row])
        log.away = True
        await log.insert([row])
        await drained(log)
    assert await logged(database_dsn) == ["once"]


async def test_rows_that_an_older_version_spooled_are_drained_without_an_engine(
    database_dsn: str, folder: Path
) -> None:
    spool = Spool(folder, PLENTY, Metrics())
    spool.append([example_row("older")])
    spool.close()
    [segment] = left_in(folder)
    data = segment.read_bytes()
    rows = [json.loads(payload_of(data, part)) for part in parts(data)]
    for row in rows:
        del row["engine"]
    segment.write_bytes(b"".join(encode(to_json(row)) for row in rows))
    async with durable_log(database_dsn, folder) as log:
        await insert(log, "newer")
        await drained(log)
    found = await fetch(database_dsn, "SELECT text, engine FROM predictions")
    assert {row["text"]: row["engine"] for row in found} == {"older": None, "newer": "onnxruntime"}


async def test_rows_that_no_standby_has_yet_stay_where_commits_wait_for_one(
    postgres: EmbeddedPostgres, folder: Path
) -> None:
    dsn = postgres.start()
    await upgrade(dsn)

    def standby(name: str) -> None:
        options = postgres.folder / "postgresql.auto.conf"
        options.write_text(f"synchronous_standby_names = '{name}'\n")
        os.kill(postgres.pid or 0, signal.SIGHUP)

    async def commit_waits() -> None:
        query = "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        async with asyncio.timeout(20):
            while not await fetch(dsn, query):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.02)

    async with durable_log(dsn, folder) as log:
        standby("absent")
        async with asyncio.timeout(20):
            while not log.away:
                await insert(log, "waits")
        waiting = log.spool.rows
        await asyncio.to_thread(postgres.stop)  # it commits all the same
        await asyncio.to_thread(postgres.start)
        await commit_waits()
        assert log.spool.rows == waiting
        standby("")
        await drained(log)


async def test_what_was_erased_meanwhile_does_not_come_back(
    database_dsn: str, folder: Path
) -> None:
    async with durable_log(database_dsn, folder) as log:
        async with locked_table(database_dsn):
            await insert(log, "forget me", "keep me")
            assert log.spool.rows == 2
            await fetch(database_dsn, ERASE, "forget me")
        await drained(log)
    assert await logged(database_dsn) == ["keep me"]


async def test_a_row_that_postgresql_refuses_is_set_aside_and_the_others_are_drained(
    database_dsn: str, folder: Path
) -> None:
    async with durable_log(database_dsn, folder) as log:
        async with locked_table(database_dsn) as other:
            await insert(log, "one", "bad", "two")
            await other.execute("ALTER TABLE predictions ADD CHECK (text <> 'bad')")
        await drained(log)
        [refused] = left_in(folder / "damaged", "*.refused")
        assert b'"bad"' in refused.read_bytes()
        assert log.spool.damaged_records == 1
    assert await logged(database_dsn) == ["one", "two"]


async def test_chunks_grow_where_a_commit_takes_long_whatever_its_size(
    database_dsn: str, folder: Path
) -> None:
    spool = Spool(folder, PLENTY, Metrics())
    spool.append([example_row(str(number)) for number in range(50 * FIRST_ROWS)])
    spool.close()
    await execute(database_dsn, SLOW, COUNTED)
    async with durable_log(database_dsn, folder) as log:
        await wait_for(lambda: not log.spool.rows)
        await execute(database_dsn, OVER.format("slow"))
    [found] = await fetch(database_dsn, "SELECT count(*) FROM chunks")
    assert found["count"] < 25


async def test_a_disk_that_fails_the_drain_keeps_no_new_row_from_postgresql(
    database_dsn: str, folder: Path
) -> None:
    async with durable_log(database_dsn, folder) as log:
        async with locked_table(database_dsn) as other:
            await insert(log, "bad")
            await other.execute("ALTER TABLE predictions ADD CHECK (text <> 'bad')")
        (folder / "damaged").touch()  # so nothing can be set aside
        await wait_for(lambda: not log.away)
        await insert(log, "direct")
        assert log.spool.rows == 1
    assert await logged(database_dsn) == ["direct"]


# When neither can be had


async def test_a_row_that_is_no_unicode_is_refused_also_by_the_spool(
    unused_tcp_port: int, folder: Path
) -> None:
    bad = example_row("a\ud800b")
    async with durable_log(f"postgresql://127.0.0.1:{unused_tcp_port}/ai_db", folder) as log:
        with pytest.raises(RowsRefused) as raised:
            await log.insert([bad, example_row("fine")])
        assert set(raised.value.refused) == {bad.id}
        assert log.spool.rows == 1
        assert count(log, "sentiment_spooled_rows_total") == 1


async def test_with_the_spool_full_too_nothing_is_claimed_until_postgresql_is_back(
    database_dsn: str, folder: Path
) -> None:
    async with durable_log(database_dsn, folder, max_bytes=1000) as log:
        async with locked_table(database_dsn):
            await insert(log, "kept")
            with pytest.raises(DatabaseUnavailable, match="the spool is full"):
                await insert(log, "x" * 1000)
            assert count(log, "sentiment_spool_failures_total") == 1
        await drained(log)
        await insert(log, "y" * 1000)
    assert [text[0] for text in await logged(database_dsn)] == ["k", "y"]


async def test_with_a_failing_disk_nothing_is_claimed(
    unused_tcp_port: int, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with durable_log(f"postgresql://127.0.0.1:{unused_tcp_port}/ai_db", folder) as log:
        shutil.rmtree(folder)
        with pytest.raises(DatabaseUnavailable, match="disk fails") as raised:
            await insert(log, "private")
        assert str(folder) not in raised.value.message
        assert not log.spool.writable
        with pytest.raises(DatabaseUnavailable):
            await insert(log, "private too")
    assert caplog.text.count("No such file or directory") == 1
    assert "private" not in caplog.text


# The end


async def test_closing_drains_what_can_be_drained(database_dsn: str, folder: Path) -> None:
    database, metrics = Database(database_dsn), Metrics()
    log = DurableLog(database, Spool(folder, PLENTY, metrics), metrics, 1.0)
    await log.insert([example_row(str(number)) for number in range(1000)])
    await log.close(time.monotonic() + 20)
    await database.close()
    assert len(await logged(database_dsn)) == 1000
    assert not left_in(folder)


async def test_closing_in_time_says_how_many_rows_stay(
    unused_tcp_port: int, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with durable_log(f"postgresql://127.0.0.1:{unused_tcp_port}/ai_db", folder) as log:
        await insert(log, "one", "two")
    assert "2 rows stay in the spool" in caplog.text
    spool = Spool(folder, PLENTY, Metrics())
    assert spool.rows == 2
    spool.close()
