import asyncio
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import asyncpg
import pytest

from sentiment_k8s.database import Database
from sentiment_k8s.errors import DatabaseUnavailable, SettingsError
from sentiment_k8s.records import PredictionRow
from sentiment_k8s.retention import erase, prune
from sentiment_k8s.testing import example_row

from .log_rows import at
from .postgres_fixtures import execute, fetch

NOW = datetime.now(UTC).replace(microsecond=0)
MONTH = timedelta(days=30)
LONG_AGO = NOW - timedelta(days=100)


async def texts_in(dsn: str) -> list[str]:
    return [row["text"] for row in await fetch(dsn, "SELECT text FROM predictions ORDER BY 1")]


async def make_week(dsn: str, moment: datetime) -> str:
    """The partition of a week that lies behind us, as it was made ahead of it."""
    first = moment.replace(hour=0, minute=0, second=0) - timedelta(days=moment.weekday())
    name = f"predictions_{first:%Y%m%d}"
    await execute(
        dsn,
        f"CREATE TABLE {name} PARTITION OF predictions"
        f" FOR VALUES FROM ('{first.isoformat()}') TO ('{(first + timedelta(7)).isoformat()}')",
    )
    return name


async def correct(dsn: str, row: PredictionRow) -> None:
    """Leave feedback on a row, and the key of the request that it answered."""
    await fetch(
        dsn,
        "INSERT INTO feedback (prediction_id, predicted_at, label) VALUES ($1, $2, 'NEGATIVE')",
        row.id,
        row.created_at,
    )
    await fetch(
        dsn,
        "INSERT INTO idempotency_keys VALUES ($1, '', ARRAY[$2, gen_random_uuid()], $3)",
        sha256(row.id.bytes).digest(),
        row.id,
        NOW + timedelta(days=1),
    )


async def inserts_are_quick(database: Database, rows: int = 5) -> None:
    """Check that nobody has the table for long."""
    for _ in range(rows):
        started = time.monotonic()
        await database.insert([example_row("meanwhile")])
        assert time.monotonic() - started < 0.8


async def wait_for_a_lock(dsn: str) -> None:
    """Until some session waits for others, or did so a moment ago and pauses."""
    query = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = $1"
    async with asyncio.timeout(20):
        while not await fetch(dsn, query, dsn.rpartition("/")[2]):
            pass


class TestPrune:
    async def test_weeks_that_are_older_go_with_their_tables(
        self, database: Database, database_dsn: str
    ) -> None:
        old, later = [await make_week(database_dsn, NOW - days * timedelta(1)) for days in (50, 40)]
        kept = await make_week(database_dsn, NOW - MONTH)
        for days in (50, 40, 30, 0):
            row = at(example_row(f"{days} days"), NOW - timedelta(days=days))
            await database.insert([row])
            await correct(database_dsn, row)
        gone = await prune(database_dsn, MONTH)
        assert (gone.partitions, gone.rows, gone.feedback, gone.keys) == ([old, later], 0, 2, 0)
        assert await texts_in(database_dsn) == ["0 days", "30 days"]
        assert await fetch(database_dsn, f"SELECT FROM {kept}")
        assert len(await fetch(database_dsn, "SELECT FROM feedback")) == 2

    async def test_the_week_that_lies_so_far_back_stays(
        self, database: Database, database_dsn: str
    ) -> None:
        monday = (NOW - MONTH - timedelta((NOW - MONTH).weekday())).replace(hour=0, minute=0)
        await make_week(database_dsn, monday)
        await database.insert([at(example_row("Monday"), monday.replace(second=0))])
        gone = await prune(database_dsn, MONTH)
        assert (gone.before, gone.partitions) == (monday.replace(second=0), [])
        assert await texts_in(database_dsn) == ["Monday"]

    async def test_rows_that_lie_in_no_week_go_too(
        self, database: Database, database_dsn: str
    ) -> None:
        await database.insert([at(example_row(), LONG_AGO) for _ in range(3)])
        await execute(
            database_dsn,
            "INSERT INTO predictions (text, created_at)"
            " SELECT 'older', '2001-01-01' FROM generate_series(1, 12000)",
        )
        await database.insert([at(example_row("kept"), NOW - timedelta(days=20))])
        assert (await prune(database_dsn, MONTH)).rows == 12_003
        assert await texts_in(database_dsn) == ["kept"]

    async def test_expired_keys_go_too(self, database_dsn: str) -> None:
        await execute(
            database_dsn,
            "INSERT INTO idempotency_keys VALUES"
            " ('a', '', '{}', now() - interval '1 s'), ('b', '', '{}', now() + interval '1 h')",
        )
        assert (await prune(database_dsn, MONTH)).keys == 1
        assert [
            row["key"] for row in await fetch(database_dsn, "SELECT key FROM idempotency_keys")
        ] == [b"b"]

    async def test_a_reader_holds_it_up_and_no_insert(
        self, database: Database, database_dsn: str
    ) -> None:
        old = await make_week(database_dsn, LONG_AGO)
        reader = await asyncpg.connect(database_dsn)
        await reader.execute("BEGIN")
        await reader.fetch("SELECT FROM predictions")
        pruned = asyncio.create_task(prune(database_dsn, MONTH))
        await wait_for_a_lock(database_dsn)
        await inserts_are_quick(database)
        assert not pruned.done()
        await reader.close()
        assert (await pruned).partitions == [old]

    async def test_a_reader_that_does_not_end_is_told_of(self, database_dsn: str) -> None:
        await make_week(database_dsn, LONG_AGO)
        reader = await asyncpg.connect(database_dsn)
        await reader.execute("BEGIN")
        await reader.fetch("SELECT FROM predictions")
        with pytest.raises(DatabaseUnavailable, match="others are in the way"):
            await prune(database_dsn, MONTH, patience_seconds=0.3)
        await reader.close()

    async def test_two_at_once_do_it_once(self, database: Database, database_dsn: str) -> None:
        await make_week(database_dsn, LONG_AGO)
        await database.insert([at(example_row(), LONG_AGO)])
        await asyncio.gather(*(prune(database_dsn, MONTH) for _ in range(2)))
        assert await texts_in(database_dsn) == []

    async def test_without_our_tables_it_says_so(self, empty_dsn: str) -> None:
        with pytest.raises(DatabaseUnavailable, match="run `sentiment db upgrade`"):
            await prune(empty_dsn, MONTH)

    async def test_an_address_that_leads_nowhere_is_told(self, unused_tcp_port: int) -> None:
        with pytest.raises(DatabaseUnavailable, match=f"127.0.0.1:{unused_tcp_port}/ai_db"):
            await prune(f"postgresql://user:x@127.0.0.1:{unused_tcp_port}/ai_db", MONTH)

    async def test_an_address_of_another_kind_is_a_setting_to_mend(self) -> None:
        with pytest.raises(SettingsError, match="DATABASE_URL is not a PostgreSQL address"):
            await prune("mysql://127.0.0.1/ai_db", MONTH)


class TestErase:
    @pytest.mark.parametrize(
        "text",
        [
            "I am Ann Onymous, call me!",
            "!!! ... :-)",
            "it's \\ 100 % \"quoted\" & 'so on' | <b>bold</b>:*",
            "very long, " * 20_000,
            "非常好",
            "hmac-sha256:" + 64 * "0",
        ],
    )
    async def test_all_rows_of_exactly_this_text_go(
        self, database: Database, database_dsn: str, text: str
    ) -> None:
        await database.insert([example_row(text), at(example_row(text), LONG_AGO)])
        await database.insert([example_row(text + "!"), example_row("call me, Ann Onymous, I am")])
        gone = await erase(database_dsn, "text", [text])
        assert gone.rows == 2
        assert sorted(await texts_in(database_dsn)) == sorted(
            [text + "!", "call me, Ann Onymous, I am"]
        )

    async def test_a_text_goes_in_all_forms_that_were_kept(
        self, database: Database, database_dsn: str
    ) -> None:
        forms = ["mail a@b.org", "mail [EMAIL]", "hmac-sha256:00ff"]
        await database.insert([example_row(form) for form in forms])
        assert (await erase(database_dsn, "text", forms)).rows == 3

    async def test_all_rows_of_a_person_go(self, database: Database, database_dsn: str) -> None:
        rows = [example_row(f"of {who}", subject=who) for who in ("ann", "bob", "ann")]
        await database.insert([*rows, example_row("of nobody")])
        assert (await erase(database_dsn, "subject", ["ann"])).rows == 2
        assert await texts_in(database_dsn) == ["of bob", "of nobody"]

    async def test_feedback_and_keys_go_with_them(
        self, database: Database, database_dsn: str
    ) -> None:
        mine, yours = example_row("mine"), example_row("yours")
        await database.insert([mine, yours])
        for row in (mine, yours):
            await correct(database_dsn, row)
        gone = await erase(database_dsn, "text", ["mine"])
        assert (gone.rows, gone.feedback, gone.keys) == (1, 1, 1)
        (left,) = await fetch(
            database_dsn, "SELECT prediction_id, ids FROM feedback, idempotency_keys"
        )
        assert left["prediction_id"] == left["ids"][0] == yours.id

    async def test_a_line_says_when_and_how_many_and_not_what(
        self, database: Database, database_dsn: str
    ) -> None:
        row = example_row("my words", subject="it is me")
        await database.insert([row])
        await correct(database_dsn, row)
        await erase(database_dsn, "subject", ["it is me"])
        (line,) = await fetch(database_dsn, "SELECT erasures::text AS line, * FROM erasures")
        assert (line["what"], line["rows"], line["feedback"]) == ("subject", 1, 1)
        assert datetime.now(UTC) - line["erased_at"] < timedelta(minutes=1)
        assert "me" not in line["line"]
        assert sha256(b"it is me").hexdigest() not in line["line"]

    async def test_rows_that_are_written_later_from_a_spool_are_known_by_it(
        self, database_dsn: str
    ) -> None:
        await erase(database_dsn, "subject", ["ann"])
        await erase(database_dsn, "text", ["one form", "another"])
        query = "SELECT sentiment_erased($1, $2, $3) AS erased"

        async def is_erased(moment: datetime, text: str, subject: str | None) -> bool:
            return bool((await fetch(database_dsn, query, moment, text, subject))[0]["erased"])

        before, after = NOW - timedelta(minutes=5), NOW + timedelta(hours=1)
        assert await is_erased(before, "any", "ann")
        assert await is_erased(before, "another", None)
        assert await is_erased(before, "one form", "bob")
        assert not await is_erased(before, "any", "bob")
        assert not await is_erased(before, "ann", "another")
        assert not await is_erased(before, "any", None)
        assert not await is_erased(after, "another", "ann")
        by_a_clock_that_is_ahead = datetime.now(UTC) + timedelta(seconds=30)
        assert await is_erased(by_a_clock_that_is_ahead, "any", "ann")

    async def test_a_row_that_is_being_written_goes_too_and_holds_nobody_up(
        self, database: Database, database_dsn: str
    ) -> None:
        writer = await asyncpg.connect(database_dsn)
        await writer.execute("BEGIN; INSERT INTO predictions (text) VALUES ('mine')")
        erased = asyncio.create_task(erase(database_dsn, "text", ["mine"]))
        await wait_for_a_lock(database_dsn)
        await inserts_are_quick(database)
        assert not erased.done()
        await writer.execute("COMMIT")
        await writer.close()
        assert (await erased).rows == 1

    async def test_what_was_erased_is_vacuumed_away(
        self, database: Database, database_dsn: str
    ) -> None:
        await database.insert([example_row("mine"), at(example_row("mine"), LONG_AGO)])
        await erase(database_dsn, "text", ["mine"])
        vacuumed = "SELECT FROM pg_stat_user_tables WHERE last_vacuum IS NOT NULL"
        assert len(await fetch(database_dsn, vacuumed)) == 2
