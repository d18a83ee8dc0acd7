import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from sentiment_k8s.connections import place_of
from sentiment_k8s.database import Database
from sentiment_k8s.errors import (
    DatabaseUnavailable,
    Overloaded,
    RowsRefused,
    SettingsError,
)
from sentiment_k8s.migrations import upgrade
from sentiment_k8s.pages import prediction, predictions
from sentiment_k8s.postgres import EmbeddedPostgres
from sentiment_k8s.records import EPOCH, PredictionRow, iso
from sentiment_k8s.stats import stats
from sentiment_k8s.testing import example_row

from .log_rows import at, texts
from .postgres_fixtures import execute, fetch, wait_until_blocked

# What PostgreSQL says to every client when it stops.
FIELDS = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
FAREWELL = b"E" + (len(FIELDS) + 4).to_bytes(4, "big") + FIELDS


@asynccontextmanager
async def relay(
    dsn: str, connections: int | None = None
) -> AsyncIterator[tuple[str, Callable[[bytes], None]]]:
    """Yields an address that leads to the same PostgreSQL, and what puts in a word for it. After so
    many connections it accepts others, and is silent."""
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
        if connections is not None and len(clients) > connections:
            await reader.read()  # until the client gives up
            writer.close()
            await writer.wait_closed()
            return
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


class TestInsert:
    async def test_a_row_comes_back_as_it_went_in(self, database: Database) -> None:
        row = example_row("I ❤ AI! \u202e\U0001f600", subject="person-1")
        await database.insert([row])
        found = await prediction(database, row.id)
        fit_for_json = {"id": str(row.id), "created_at": iso(row.created_at), "feedback": None}
        assert found == asdict(row) | fit_for_json

    async def test_a_row_that_is_written_twice_is_one_row(self, database: Database) -> None:
        rows = [example_row(str(number)) for number in range(3)]
        await database.insert(rows[:2])
        await database.insert(rows)
        assert await texts(database) == ["2", "1", "0"]

    async def test_no_rows_need_no_database(self) -> None:
        await Database("postgresql://nowhere.invalid/ai_db").insert([])

    async def test_more_inserts_at_once_than_connections_all_succeed(
        self, database: Database
    ) -> None:
        await asyncio.gather(*(database.insert([example_row()]) for _ in range(20)))
        assert len(await texts(database)) == 20

    @pytest.mark.parametrize("bad", ["a\0b", "a\ud800b"])
    async def test_only_the_row_that_postgresql_cannot_hold_is_refused(
        self, database: Database, bad: str
    ) -> None:
        rows = [example_row("first"), example_row(bad), example_row("last")]
        with pytest.raises(RowsRefused) as raised:
            await database.insert(rows)
        assert set(raised.value.refused) == {rows[1].id}
        assert raised.value.status == 400
        assert bad not in f"{raised.value} {raised.value.refused}"
        assert await texts(database) == ["last", "first"]

    async def test_a_single_bad_row_is_refused(self, database: Database) -> None:
        row = example_row("\0")
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
        rows = [example_row(str(number)) for number in range(63)]
        bad = example_row("bad")
        with pytest.raises(RowsRefused) as raised:
            await database.insert([*rows[:40], bad, *rows[40:]])
        assert set(raised.value.refused) == {bad.id}
        (attempts,) = await fetch(database_dsn, "SELECT last_value FROM attempts")
        assert attempts["last_value"] == 1 + 2 * 6
        assert await texts(database) == [str(number) for number in reversed(range(63))]

    async def test_a_row_of_any_time_has_a_place(self, database: Database) -> None:
        times = [datetime(1971, 2, 3, tzinfo=UTC), datetime(2999, 2, 3, tzinfo=UTC)]
        rows = [at(example_row(str(time.year)), time) for time in times]
        await database.insert(rows)
        assert await texts(database) == ["2999", "1971"]


class TestWhileAway:
    async def test_it_says_so_and_comes_back_by_itself(
        self, postgres: EmbeddedPostgres, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "sentiment_k8s.database")
        address = postgres.start()
        await upgrade(address)
        database = Database(address)
        assert not database.available
        await database.insert([example_row("before")])
        assert database.available
        assert not caplog.messages
        postgres.stop()
        for call in (
            database.insert([example_row("lost")]),
            database.insert([example_row("lost")]),
            predictions(database),
            prediction(database, example_row().id),
            stats(database, EPOCH, EPOCH + timedelta(days=1), 1),
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
        await database.insert([example_row("after")])
        assert database.available
        assert await texts(database) == ["after", "before"]
        assert caplog.messages == [
            f"Rows can be written again: {place} is back.",
            f"Rows can be read again: {place} is back.",
        ]
        await database.close()

    async def test_callers_are_told_no_place(self, unused_tcp_port: int) -> None:
        database = Database(f"postgresql://user:hush@127.0.0.1:{unused_tcp_port}/ai_db")
        for call in (database.insert([example_row()]), predictions(database)):
            with pytest.raises(DatabaseUnavailable) as raised:
                await call
            for name in ("user", "hush", "127.0.0.1", str(unused_tcp_port), "ai_db"):
                assert name not in raised.value.message

    async def test_a_row_that_could_be_written_makes_it_available(self, database: Database) -> None:
        await database.ensure_partitions()
        assert database.available

    async def test_readers_have_no_say_in_whether_it_is_available(self, database_dsn: str) -> None:
        database = Database(database_dsn, read_seconds=0.2)
        await predictions(database)
        assert not database.available
        await database.insert([example_row()])
        other = await asyncpg.connect(database_dsn)
        async with other.transaction():
            await other.execute("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(DatabaseUnavailable):
                await stats(database, EPOCH, EPOCH + timedelta(days=1), 1)
        assert database.available
        await other.close()
        await database.close()

    async def test_one_reader_too_many_is_told_to_come_again(self, database_dsn: str) -> None:
        database = Database(database_dsn, connect_seconds=0.2)
        other = await asyncpg.connect(database_dsn)
        async with other.transaction():
            await other.execute("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
            readers = [asyncio.create_task(predictions(database)) for _ in range(2)]
            await wait_until_blocked(other, 2)
            with pytest.raises(Overloaded, match="busy") as raised:
                await predictions(database)
        assert (raised.value.status, raised.value.retry_after) == (429, 1)
        await asyncio.gather(*readers)
        await other.close()
        await database.close()

    async def test_a_connection_that_died_unseen_costs_no_answer(
        self, database: Database, database_dsn: str
    ) -> None:
        await database.insert([example_row("before")])
        await execute(
            database_dsn,
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'sentiment' AND datname = current_database()",
        )
        await database.insert([example_row("after")])
        assert await texts(database) == ["after", "before"]

    async def test_a_farewell_on_an_idle_connection_costs_no_answer(
        self, database_dsn: str
    ) -> None:
        async with relay(database_dsn) as (through, send):
            database = Database(through)
            await database.insert([example_row("before")])
            send(FAREWELL)
            await execute(database_dsn, "SELECT 1")  # time for it to arrive
            await database.insert([example_row("after")])
            assert await texts(database) == ["after", "before"]
            await database.close()

    async def test_a_commit_that_takes_too_long_is_no_answer(self, database_dsn: str) -> None:
        database = Database(database_dsn, write_seconds=0.2)
        other = await asyncpg.connect(database_dsn)
        async with other.transaction():
            await other.execute("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(DatabaseUnavailable, match="does not answer in time"):
                await database.insert([example_row("lost")])
        await other.close()
        await insert_until_it_works(database, example_row("kept"))
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
                await predictions(database)
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
                    await database.insert([example_row()])
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
            readers = [asyncio.create_task(predictions(database)) for _ in range(4)]
            await wait_until_blocked(other, 2)
            await database.insert([example_row()])
            assert not any(reader.done() for reader in readers)
        await other.close()
        await asyncio.gather(*readers)

    async def test_a_server_that_never_answers_is_given_up(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:  # it is connected to, but no more
            port = silent.getsockname()[1]
            database = Database(f"postgresql://user@127.0.0.1:{port}/ai_db", connect_seconds=0.2)
            with pytest.raises(DatabaseUnavailable, match="does not answer in time"):
                await database.insert([example_row()])

    async def test_a_commit_has_its_time_in_all_also_on_a_second_connection(
        self, database_dsn: str
    ) -> None:
        async with relay(database_dsn, connections=1) as (through, _):
            database = Database(through, write_seconds=0.4)
            await database.insert([example_row("before")])
            await execute(
                database_dsn,
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE application_name = 'sentiment' AND datname = current_database()",
            )
            began = time.monotonic()
            with pytest.raises(DatabaseUnavailable, match="does not answer in time"):
                await database.insert([example_row("lost")])
            assert 0.3 < time.monotonic() - began < 0.9
            await database.close()

    async def test_a_standby_is_not_available_for_rows(self, database_dsn: str) -> None:
        database = Database(f"{database_dsn}?default_transaction_read_only=on")
        with pytest.raises(DatabaseUnavailable, match="read-only"):
            await database.insert([example_row()])
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
            await database.insert([example_row()])
        for other in others:
            await other.close()
        await database.insert([example_row()])
        await database.close()

    async def test_without_our_tables_it_says_what_to_run(self, empty_dsn: str) -> None:
        database = Database(empty_dsn)
        for call in (database.insert([example_row()]), database.ensure_partitions()):
            with pytest.raises(DatabaseUnavailable, match="run `sentiment db upgrade`"):
                await call
        await database.close()

    async def test_tables_without_a_column_are_like_missing_ones(self, database_dsn: str) -> None:
        await execute(database_dsn, "ALTER TABLE predictions DROP COLUMN precision")
        database = Database(database_dsn)
        for call in (database.insert([example_row()]), predictions(database)):
            with pytest.raises(DatabaseUnavailable, match="run `sentiment db upgrade`"):
                await call
        assert database.lacks_tables.is_set()
        await database.close()

    async def test_missing_tables_are_noticed_until_they_are_there(self, empty_dsn: str) -> None:
        database = Database(empty_dsn)
        assert not database.lacks_tables.is_set()
        with suppress(DatabaseUnavailable):
            await database.insert([example_row()])
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
            await database.insert([example_row()])
        assert "password authentication failed" in caplog.text
        assert "secret" not in caplog.text

    async def test_a_name_that_does_not_resolve_is_unavailable(self) -> None:
        with pytest.raises(DatabaseUnavailable):
            await Database("postgresql://nowhere.invalid/ai_db").insert([example_row()])

    @pytest.mark.parametrize(
        "dsn", ["mysql://127.0.0.1/ai_db", "postgresql://user:12/34@127.0.0.1/ai_db"]
    )
    def test_an_address_that_cannot_be_read_is_refused_at_once(self, dsn: str) -> None:
        with pytest.raises(SettingsError, match="DATABASE_URL is not a PostgreSQL address"):
            Database(dsn)

    async def test_a_bug_of_ours_is_raised_as_it_is(
        self, database: Database, database_dsn: str
    ) -> None:
        await execute(database_dsn, "ALTER TABLE predictions ALTER tokens TYPE uuid USING NULL")
        with pytest.raises(asyncpg.DatatypeMismatchError):
            await database.insert([example_row()])

    async def test_a_cancelled_call_leaves_nothing_behind(
        self, database: Database, database_dsn: str
    ) -> None:
        other = await asyncpg.connect(database_dsn)
        async with other.transaction():
            await other.execute("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
            calls = [asyncio.create_task(database.insert([example_row()])) for _ in range(4)]
            await wait_until_blocked(other, 1)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        await other.close()
        await database.insert([example_row("kept")])

    async def test_a_commit_means_disk_whatever_the_databases_default(
        self, database_dsn: str
    ) -> None:
        name = database_dsn.rpartition("/")[2]
        await execute(database_dsn, f"ALTER DATABASE {name} SET synchronous_commit = off")
        database = Database(database_dsn)
        assert await database._writers.run(lambda c: c.fetchval("SHOW synchronous_commit")) == "on"
        await database.close()

    async def test_after_close_a_call_connects_anew(self, database: Database) -> None:
        await database.insert([example_row()])
        await database.close()
        await database.insert([example_row()])
