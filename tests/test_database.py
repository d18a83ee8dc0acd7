import asyncio
import base64
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import asyncpg
import pytest

from sentiment_k8s.connections import place_of
from sentiment_k8s.database import (
    BY_ID_AND_TIME,
    COUNT,
    PAGE_BYTES,
    Database,
    page_query,
    time_in,
)
from sentiment_k8s.errors import (
    DatabaseUnavailable,
    Overloaded,
    RequestError,
    RowsRefused,
    SettingsError,
)
from sentiment_k8s.migrations import upgrade
from sentiment_k8s.postgres import EmbeddedPostgres
from sentiment_k8s.records import EPOCH, Identities, PredictionRow, iso

from .postgres_fixtures import execute, fetch

identities = Identities()


# What PostgreSQL says to every client when it stops.
FIELDS = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
FAREWELL = b"E" + (len(FIELDS) + 4).to_bytes(4, "big") + FIELDS


@asynccontextmanager
async def relay(dsn: str) -> AsyncIterator[tuple[str, Callable[[bytes], None]]]:
    """Yields an address that leads to the same PostgreSQL, and what puts in a word for it."""
    there = urlsplit(dsn)
    clients: list[asyncio.StreamWriter] = []
    forwarding: list[asyncio.Task[None]] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.append(writer)
        answers, requests = await asyncio.open_connection(there.hostname, there.port)
        await asyncio.gather(copy(reader, requests), copy(answers, writer))

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        forwarding.append(asyncio.create_task(forward(reader, writer)))

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        who = there.netloc.rpartition("@")[0]
        through = there._replace(netloc=f"{who}@127.0.0.1:{port}")
        yield urlunsplit(through), lambda message: clients[0].write(message)
        for client in clients:
            client.close()
        await asyncio.gather(*forwarding)


def make_row(text: str = "I love AI!", label: str = "POSITIVE") -> PredictionRow:
    row_id, created_at = identities.next()
    return PredictionRow(
        id=row_id,
        created_at=created_at,
        text=text,
        prediction=label,
        score=0.75,
        scores={"POSITIVE": 0.75, "NEGATIVE": 0.25},
        model="bundled",
        revision="0123abcd",
        precision="int8",
        tokens=7,
        truncated=False,
        queue_seconds=0.001,
        inference_seconds=0.004,
        request_id="request-1",
        subject="person-1",
    )


def at(row: PredictionRow, time: datetime) -> PredictionRow:
    """The same row as of another time."""
    milliseconds = (time - EPOCH) // timedelta(milliseconds=1)
    lower = row.id.int & ((1 << 80) - 1)
    return replace(row, id=UUID(int=milliseconds << 80 | lower), created_at=time)


@pytest.fixture
async def database(database_dsn: str) -> AsyncIterator[Database]:
    database = Database(database_dsn)
    yield database
    await database.close()


async def texts(database: Database, **filters: Any) -> list[str]:
    """All texts that pass some filters, page by page."""
    found, cursor = [], None
    while True:
        rows, cursor = await database.predictions(limit=2, cursor=cursor, **filters)
        found += [row["text"] for row in rows]
        if cursor is None:
            return found


async def wait_until_blocked(connection: asyncpg.Connection, sessions: int) -> None:
    """Return once this many other sessions wait for a lock in the connection's database."""
    blocked = (
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        " WHERE NOT granted AND datname = current_database()"
    )
    while await connection.fetchval(blocked) < sessions:  # noqa: ASYNC110 - a lock wakes nobody
        await asyncio.sleep(0.01)


async def insert_until_it_works(database: Database, row: PredictionRow) -> None:
    while True:
        with suppress(DatabaseUnavailable):
            await database.insert([row])
            return


async def as_many_connections_as_possible(dsn: str) -> list[asyncpg.Connection]:
    connections = []
    with suppress(asyncpg.TooManyConnectionsError):
        while True:
            connections.append(await asyncpg.connect(dsn))
    return connections


async def plan(dsn: str, query: str, *arguments: object) -> str:
    connection = await asyncpg.connect(dsn)
    try:
        # A few rows are read fastest without any index; ask for what many rows would get.
        await connection.execute("SET enable_seqscan = off")
        rows = await connection.fetch(f"EXPLAIN {query}", *arguments)
    finally:
        await connection.close()
    return "\n".join(row[0] for row in rows)


class TestInsert:
    async def test_a_row_comes_back_as_it_went_in(self, database: Database) -> None:
        row = make_row("I ❤ AI! \u202e\U0001f600")
        await database.insert([row])
        found = await database.prediction(row.id)
        assert json.loads(json.dumps(found)) == {
            "id": str(row.id),
            "created_at": iso(row.created_at),
            "text": "I ❤ AI! \u202e\U0001f600",
            "prediction": "POSITIVE",
            "score": 0.75,
            "scores": {"POSITIVE": 0.75, "NEGATIVE": 0.25},
            "model": "bundled",
            "revision": "0123abcd",
            "precision": "int8",
            "tokens": 7,
            "truncated": False,
            "queue_seconds": 0.001,
            "inference_seconds": 0.004,
            "request_id": "request-1",
            "subject": "person-1",
        }

    async def test_a_row_that_is_written_twice_is_one_row(self, database: Database) -> None:
        rows = [make_row(str(number)) for number in range(3)]
        await database.insert(rows[:2])
        await database.insert(rows)
        assert await texts(database) == ["2", "1", "0"]

    async def test_no_rows_need_no_database(self) -> None:
        await Database("postgresql://nowhere.invalid/ai_db").insert([])

    async def test_more_inserts_at_once_than_connections_all_succeed(
        self, database: Database
    ) -> None:
        await asyncio.gather(*(database.insert([make_row()]) for _ in range(20)))
        assert len(await texts(database)) == 20

    @pytest.mark.parametrize("bad", ["a\0b", "a\ud800b"])
    async def test_only_the_row_that_postgresql_cannot_hold_is_refused(
        self, database: Database, bad: str
    ) -> None:
        rows = [make_row("first"), make_row(bad), make_row("last")]
        with pytest.raises(RowsRefused) as raised:
            await database.insert(rows)
        assert set(raised.value.refused) == {rows[1].id}
        assert raised.value.status == 400
        assert bad not in f"{raised.value} {raised.value.refused}"
        assert await texts(database) == ["last", "first"]

    async def test_a_single_bad_row_is_refused(self, database: Database) -> None:
        row = make_row("\0")
        with pytest.raises(RowsRefused) as raised:
            await database.insert([row])
        assert set(raised.value.refused) == {row.id}

    async def test_one_bad_row_among_many_is_found_by_halves(
        self, database: Database, database_dsn: str
    ) -> None:
        await execute(
            database_dsn,
            "ALTER TABLE predictions ADD CHECK (text <> 'bad')",
            "CREATE SEQUENCE attempts",  # it counts those that were rolled back, too
            "CREATE FUNCTION count_attempt() RETURNS trigger LANGUAGE plpgsql"
            " AS $$ BEGIN PERFORM nextval('attempts'); RETURN NULL; END $$",
            "CREATE TRIGGER count_attempt BEFORE INSERT ON predictions"
            " FOR EACH STATEMENT EXECUTE FUNCTION count_attempt()",
        )
        rows = [make_row(str(number)) for number in range(63)]
        bad = make_row("bad")
        with pytest.raises(RowsRefused) as raised:
            await database.insert([*rows[:40], bad, *rows[40:]])
        assert set(raised.value.refused) == {bad.id}
        (attempts,) = await fetch(database_dsn, "SELECT last_value FROM attempts")
        assert attempts["last_value"] == 1 + 2 * 6
        assert await texts(database) == [str(number) for number in reversed(range(63))]

    async def test_a_row_of_any_time_has_a_place(self, database: Database) -> None:
        times = [datetime(1971, 2, 3, tzinfo=UTC), datetime(2999, 2, 3, tzinfo=UTC)]
        rows = [at(make_row(str(time.year)), time) for time in times]
        await database.insert(rows)
        assert await texts(database) == ["2999", "1971"]


class TestPages:
    async def test_pages_neither_repeat_nor_miss_a_row_while_rows_come_in(
        self, database: Database
    ) -> None:
        await database.insert([make_row(str(number)) for number in range(10)])
        seen, cursor = [], None
        while True:
            rows, cursor = await database.predictions(limit=3, cursor=cursor)
            seen += [row["text"] for row in rows]
            await database.insert([make_row("newer")])
            if cursor is None:
                break
        assert seen == [str(number) for number in reversed(range(10))]

    async def test_rows_of_one_moment_are_paged_by_id(self, database: Database) -> None:
        moment = datetime.now(UTC).replace(microsecond=0)
        await database.insert([at(make_row(str(number)), moment) for number in range(7)])
        assert sorted(await texts(database)) == [str(number) for number in range(7)]

    async def test_a_full_last_page_has_no_next_one(self, database: Database) -> None:
        await database.insert([make_row(), make_row()])
        assert (await database.predictions(limit=2))[1] is None

    async def test_a_page_of_long_texts_ends_early_and_the_next_goes_on(
        self, database: Database
    ) -> None:
        most = 3 * PAGE_BYTES // 8
        await database.insert([make_row(str(n) + "ä" * (most // 2)) for n in range(7)])
        pages, cursor = [], None
        while True:
            rows, cursor = await database.predictions(limit=500, cursor=cursor)
            pages.append([row["text"][0] for row in rows])
            if cursor is None:
                break
        assert pages == [["6", "5", "4"], ["3", "2", "1"], ["0"]]

    async def test_a_text_longer_than_a_page_is_a_page(self, database: Database) -> None:
        await database.insert([make_row("old"), make_row("x" * (PAGE_BYTES + 1)), make_row("new")])
        lengths, cursor = [], None
        while True:
            rows, cursor = await database.predictions(cursor=cursor)
            lengths.append([len(row["text"]) for row in rows])
            if cursor is None:
                break
        assert lengths == [[3, PAGE_BYTES + 1], [3]]

    async def test_rows_are_filtered_by_label_and_time(self, database: Database) -> None:
        noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
        hour = timedelta(hours=1)
        await database.insert(
            [
                at(make_row(f"{label} {hours}", label), noon + hours * hour)
                for hours in range(4)
                for label in ("POSITIVE", "NEGATIVE")
            ]
        )
        assert await texts(
            database, label="NEGATIVE", since=noon + hour, until=noon + 3 * hour
        ) == ["NEGATIVE 2", "NEGATIVE 1"]
        assert await texts(database, label="neither") == []

    async def test_a_row_by_the_books_insert_has_nulls(
        self, database: Database, database_dsn: str
    ) -> None:
        await execute(database_dsn, "INSERT INTO predictions (text) VALUES ('by hand')")
        (row,), _ = await database.predictions()
        assert (row["text"], row["prediction"], row["scores"], row["model"]) == (
            ("by hand", None, None, None)
        )

    @pytest.mark.parametrize(
        "cursor",
        [
            "",
            "x",
            "not base64!",
            "ü",
            "AAAA",
            base64.urlsafe_b64encode(b"\x7f" * 24).decode(),
            base64.urlsafe_b64encode(b"\x80" * 24).decode(),
        ],
    )
    async def test_a_cursor_that_is_not_ours_is_refused(
        self, database: Database, cursor: str
    ) -> None:
        with pytest.raises(RequestError, match="cursor is not valid"):
            await database.predictions(cursor=cursor)

    @pytest.mark.parametrize("label", ["a\0b", "\ud800"])
    async def test_a_label_that_cannot_be_is_refused(self, database: Database, label: str) -> None:
        with pytest.raises(RequestError, match="check label"):
            await database.predictions(label=label)


class TestOneRow:
    @pytest.mark.parametrize("row_id", [uuid4(), UUID(int=0), UUID(int=2**128 - 1)])
    async def test_an_unknown_id_is_none(self, database: Database, row_id: UUID) -> None:
        assert await database.prediction(row_id) is None

    async def test_a_row_whose_time_was_set_by_hand_is_found(
        self, database: Database, database_dsn: str
    ) -> None:
        row = make_row()
        values = f"('{row.id}', 'x', '2020-01-01')"
        await execute(
            database_dsn, f"INSERT INTO predictions (id, text, created_at) VALUES {values}"
        )
        found = await database.prediction(row.id)
        assert found
        assert found["created_at"] == "2020-01-01T00:00:00.000Z"


class TestStats:
    async def test_rows_are_counted_by_label_and_time(
        self, database: Database, database_dsn: str
    ) -> None:
        since = datetime(2026, 1, 5, tzinfo=UTC)
        minutes = [0, 59, 60, 179, 180, -1]  # the last two lie outside
        await database.insert([at(make_row(), since + timedelta(minutes=m)) for m in minutes])
        await database.insert([at(make_row(label="NEGATIVE"), since)])
        await execute(
            database_dsn,
            "INSERT INTO predictions (text, created_at) VALUES ('no label', '2026-01-05')",
        )
        assert await database.stats(since, since + timedelta(hours=3), buckets=3) == {
            "since": "2026-01-05T00:00:00.000Z",
            "until": "2026-01-05T03:00:00.000Z",
            "bucket_seconds": 3600,
            "buckets": [
                {"start": "2026-01-05T00:00:00.000Z", "counts": {"POSITIVE": 2, "NEGATIVE": 1}},
                {"start": "2026-01-05T01:00:00.000Z", "counts": {"POSITIVE": 1}},
                {"start": "2026-01-05T02:00:00.000Z", "counts": {"POSITIVE": 1}},
            ],
            "totals": {"POSITIVE": 4, "NEGATIVE": 1},
        }

    async def test_widths_that_do_not_divide_lose_no_row(self, database: Database) -> None:
        since = datetime(2026, 1, 5, tzinfo=UTC)
        seconds = timedelta(seconds=1)
        await database.insert([at(make_row(), since + n * seconds) for n in range(10)])
        counted = await database.stats(since, since + 10 * seconds, buckets=7)
        assert sum(bucket["counts"].get("POSITIVE", 0) for bucket in counted["buckets"]) == 10
        assert len(counted["buckets"]) == 7


class TestPlans:
    """Only what is asked for is read, also when there are years of rows."""

    async def test_one_row_is_looked_up_in_one_week(self, database_dsn: str) -> None:
        row = make_row()
        found = await plan(database_dsn, BY_ID_AND_TIME, row.id, row.created_at)
        assert found.count("Index Scan using") == 1

    async def test_the_first_page_reads_the_newest_rows_by_index(self, database_dsn: str) -> None:
        query, arguments = page_query(50, None, None, None, None)
        found = await plan(database_dsn, query, *arguments)
        assert "created_at_id_prediction_idx" in found
        assert "Sort  (" not in found

    async def test_a_later_page_leaves_out_the_weeks_after_it(
        self, database: Database, database_dsn: str
    ) -> None:
        await database.insert([make_row(), make_row()])
        _, cursor = await database.predictions(limit=1)
        query, arguments = page_query(50, cursor, None, None, None)
        # This week, and the rows of no week; not the four weeks ahead.
        assert (await plan(database_dsn, query, *arguments)).count("Index Scan") == 2

    async def test_a_rare_label_is_found_by_index(self, database_dsn: str) -> None:
        query, arguments = page_query(50, None, "RARE", None, None)
        found = await plan(database_dsn, query, *arguments)
        assert "prediction_created_at_id_idx" in found
        assert "Filter: (prediction" not in found

    async def test_counts_come_from_the_index_alone(self, database_dsn: str) -> None:
        now = datetime.now(UTC)
        hour = timedelta(hours=1)
        found = await plan(database_dsn, COUNT, now - 24 * hour, now, hour)
        assert "Index Only Scan" in found or "Bitmap Index Scan" in found
        assert "Seq Scan" not in found


class TestWhileAway:
    async def test_it_says_so_and_comes_back_by_itself(
        self, postgres: EmbeddedPostgres, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "sentiment_k8s.database")
        address = postgres.start()
        await upgrade(address)
        database = Database(address)
        assert not database.available
        await database.insert([make_row("before")])
        assert database.available
        assert not caplog.messages
        postgres.stop()
        for call in (
            database.insert([make_row("lost")]),
            database.insert([make_row("lost")]),
            database.predictions(),
            database.prediction(make_row().id),
            database.stats(EPOCH, EPOCH + timedelta(days=1), 1),
            database.ensure_partitions(),
        ):
            with pytest.raises(DatabaseUnavailable, match=r"is not available: .* Retry later"):
                await call
        assert not database.available
        place = place_of(address)
        assert [message.split(" at ")[0] for message in caplog.messages] == [
            "Rows cannot be written: PostgreSQL",
            "Rows cannot be read: PostgreSQL",
        ]
        assert all(f"at {place} is not" in message for message in caplog.messages)
        caplog.clear()
        assert postgres.start() == address
        await database.insert([make_row("after")])
        assert database.available
        assert await texts(database) == ["after", "before"]
        assert caplog.messages == [
            f"Rows can be written again: {place} is back.",
            f"Rows can be read again: {place} is back.",
        ]
        await database.close()

    async def test_callers_are_told_no_place(self, unused_tcp_port: int) -> None:
        database = Database(f"postgresql://user:hush@127.0.0.1:{unused_tcp_port}/ai_db")
        for call in (database.insert([make_row()]), database.predictions()):
            with pytest.raises(DatabaseUnavailable) as raised:
                await call
            for name in ("user", "hush", "127.0.0.1", str(unused_tcp_port), "ai_db"):
                assert name not in raised.value.message

    async def test_a_row_that_could_be_written_makes_it_available(self, database: Database) -> None:
        await database.ensure_partitions()
        assert database.available

    async def test_readers_have_no_say_in_whether_it_is_available(self, database_dsn: str) -> None:
        database = Database(database_dsn, read_seconds=0.2)
        await database.predictions()
        assert not database.available
        await database.insert([make_row()])
        other = await asyncpg.connect(database_dsn)
        async with other.transaction():
            await other.execute("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(DatabaseUnavailable):
                await database.stats(EPOCH, EPOCH + timedelta(days=1), 1)
        assert database.available
        await other.close()
        await database.close()

    async def test_one_reader_too_many_is_told_to_come_again(self, database_dsn: str) -> None:
        database = Database(database_dsn, connect_seconds=0.2)
        other = await asyncpg.connect(database_dsn)
        async with other.transaction():
            await other.execute("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
            readers = [asyncio.create_task(database.predictions()) for _ in range(2)]
            await wait_until_blocked(other, 2)
            with pytest.raises(Overloaded, match="busy") as raised:
                await database.predictions()
        assert (raised.value.status, raised.value.retry_after) == (429, 1)
        await asyncio.gather(*readers)
        await other.close()
        await database.close()

    async def test_a_connection_that_died_unseen_costs_no_answer(
        self, database: Database, database_dsn: str
    ) -> None:
        await database.insert([make_row("before")])
        await execute(
            database_dsn,
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'sentiment' AND datname = current_database()",
        )
        await database.insert([make_row("after")])
        assert await texts(database) == ["after", "before"]

    async def test_a_farewell_on_an_idle_connection_costs_no_answer(
        self, database_dsn: str
    ) -> None:
        async with relay(database_dsn) as (through, send):
            database = Database(through)
            await database.insert([make_row("before")])
            send(FAREWELL)
            await execute(database_dsn, "SELECT 1")  # time for it to arrive
            await database.insert([make_row("after")])
            assert await texts(database) == ["after", "before"]
            await database.close()

    async def test_a_commit_that_takes_too_long_is_no_answer(self, database_dsn: str) -> None:
        database = Database(database_dsn, write_seconds=0.2)
        other = await asyncpg.connect(database_dsn)
        async with other.transaction():
            await other.execute("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(DatabaseUnavailable, match="does not answer in time"):
                await database.insert([make_row("lost")])
        await other.close()
        await insert_until_it_works(database, make_row("kept"))
        assert "kept" in await texts(database)
        await database.close()

    async def test_a_query_that_takes_too_long_is_ended_by_postgresql(
        self, database_dsn: str
    ) -> None:
        database = Database(database_dsn, read_seconds=0.2)
        other = await asyncpg.connect(database_dsn)
        async with other.transaction():
            await other.execute("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(DatabaseUnavailable, match="does not answer in time"):
                await database.predictions()
        await other.close()
        assert await texts(database) == []
        await database.close()

    async def test_a_row_that_waits_for_a_lock_leaves_no_session_behind(
        self, database_dsn: str
    ) -> None:
        database = Database(database_dsn, write_seconds=0.2)
        other = await asyncpg.connect(database_dsn)
        async with other.transaction():
            await other.execute("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
            for _ in range(3):
                with pytest.raises(DatabaseUnavailable):
                    await database.insert([make_row()])
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            assert await other.fetchval(f"{waiting} AND datname = current_database()") == 0
        await other.close()
        await database.close()

    async def test_slow_readers_do_not_keep_the_writer_waiting(
        self, database: Database, database_dsn: str
    ) -> None:
        other = await asyncpg.connect(database_dsn)
        async with other.transaction():
            await other.execute("LOCK TABLE predictions_default IN ACCESS EXCLUSIVE MODE")
            readers = [asyncio.create_task(database.predictions()) for _ in range(4)]
            await wait_until_blocked(other, 2)
            await database.insert([make_row()])
            assert not any(reader.done() for reader in readers)
        await other.close()
        await asyncio.gather(*readers)

    async def test_a_server_that_never_answers_is_given_up(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:  # it is connected to, but no more
            port = silent.getsockname()[1]
            database = Database(f"postgresql://user@127.0.0.1:{port}/ai_db", connect_seconds=0.2)
            with pytest.raises(DatabaseUnavailable, match="does not answer in time"):
                await database.insert([make_row()])

    async def test_a_standby_is_not_available_for_rows(self, database_dsn: str) -> None:
        database = Database(f"{database_dsn}?default_transaction_read_only=on")
        with pytest.raises(DatabaseUnavailable, match="read-only"):
            await database.insert([make_row()])
        with pytest.raises(DatabaseUnavailable, match="read-only"):
            await database.ensure_partitions()
        assert not database.available
        await database.close()

    async def test_too_many_clients_elsewhere_pass(self, postgres: EmbeddedPostgres) -> None:
        address = postgres.start()
        await upgrade(address)
        others = await as_many_connections_as_possible(address)
        database = Database(address)
        with pytest.raises(DatabaseUnavailable, match="out of connections"):
            await database.insert([make_row()])
        for other in others:
            await other.close()
        await database.insert([make_row()])
        await database.close()

    async def test_without_our_tables_it_says_what_to_run(self, empty_dsn: str) -> None:
        database = Database(empty_dsn)
        for call in (database.insert([make_row()]), database.ensure_partitions()):
            with pytest.raises(DatabaseUnavailable, match="run `sentiment db upgrade`"):
                await call
        await database.close()

    async def test_missing_tables_are_noticed_until_they_are_there(self, empty_dsn: str) -> None:
        database = Database(empty_dsn)
        assert not database.lacks_tables.is_set()
        with suppress(DatabaseUnavailable):
            await database.insert([make_row()])
        assert database.lacks_tables.is_set()
        with suppress(DatabaseUnavailable):
            await database.ensure_partitions()
        assert database.lacks_tables.is_set()
        await upgrade(empty_dsn)
        await database.ensure_partitions()
        assert not database.lacks_tables.is_set()
        await database.close()

    async def test_a_wrong_password_is_told_without_it(
        self, database_dsn: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        database = Database(f"postgresql://user:secret@{place_of(database_dsn)}")
        with pytest.raises(DatabaseUnavailable, match="refuses our user or password"):
            await database.insert([make_row()])
        assert "password authentication failed" in caplog.text
        assert "secret" not in caplog.text

    async def test_a_name_that_does_not_resolve_is_unavailable(self) -> None:
        with pytest.raises(DatabaseUnavailable):
            await Database("postgresql://nowhere.invalid/ai_db").insert([make_row()])

    @pytest.mark.parametrize(
        "dsn", ["mysql://127.0.0.1/ai_db", "postgresql://user:12/34@127.0.0.1/ai_db"]
    )
    def test_an_address_that_cannot_be_read_is_refused_at_once(self, dsn: str) -> None:
        with pytest.raises(SettingsError, match="DATABASE_URL is not a PostgreSQL address"):
            Database(dsn)

    async def test_a_bug_of_ours_is_raised_as_it_is(
        self, database: Database, database_dsn: str
    ) -> None:
        await execute(database_dsn, "ALTER TABLE predictions RENAME COLUMN tokens TO words")
        with pytest.raises(asyncpg.UndefinedColumnError):
            await database.insert([make_row()])

    async def test_a_cancelled_call_leaves_nothing_behind(
        self, database: Database, database_dsn: str
    ) -> None:
        other = await asyncpg.connect(database_dsn)
        async with other.transaction():
            await other.execute("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
            calls = [asyncio.create_task(database.insert([make_row()])) for _ in range(4)]
            await wait_until_blocked(other, 1)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        await other.close()
        await database.insert([make_row("kept")])

    async def test_a_commit_means_disk_whatever_the_databases_default(
        self, database_dsn: str
    ) -> None:
        name = database_dsn.rpartition("/")[2]
        await execute(database_dsn, f"ALTER DATABASE {name} SET synchronous_commit = off")
        database = Database(database_dsn)
        assert await database._writers.run(lambda c: c.fetchval("SHOW synchronous_commit")) == "on"
        await database.close()

    async def test_after_close_a_call_connects_anew(self, database: Database) -> None:
        await database.insert([make_row()])
        await database.close()
        await database.insert([make_row()])


def test_the_time_in_an_id_is_its_rows_time() -> None:
    row = make_row()
    assert time_in(row.id) == row.created_at
