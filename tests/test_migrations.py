import asyncio
import io
import json
import logging
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from alembic import command

from sentiment_k8s.errors import DatabaseUnavailable, SettingsError, StartError
from sentiment_k8s.migrations import HEAD, LOCK, upgrade
from sentiment_k8s.migrations.runner import config, init_sql, script_head
from sentiment_k8s.postgres import EmbeddedPostgres
from sentiment_k8s.records import time_in

from .postgres_fixtures import execute, fetch

INIT_SQL = Path(__file__).parents[1] / "init.sql"

BOOKS_TABLE = """
CREATE TABLE predictions (
    id SERIAL PRIMARY KEY,
    text TEXT NOT NULL,
    prediction VARCHAR(50),
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
)
"""
BOOKS_INSERT = "INSERT INTO predictions (text, prediction) VALUES ('I love AI!', 'POSITIVE')"

NOTHING_TO_DO = """
import asyncio, sys
from sentiment_k8s.migrations import upgrade
asyncio.run(upgrade(sys.argv[1]))
assert not {"alembic", "sqlalchemy"} & set(sys.modules)
"""


def schema(binaries: Path, dsn: str) -> str:
    """The schema as pg_dump writes it, without its random `\\restrict` keys and the versions of
    columns that PostgreSQL 15.20 notes."""
    dump = subprocess.run(
        [binaries / "pg_dump", "--schema-only", "--no-owner", dsn],
        capture_output=True,
        text=True,
        check=True,
    )
    noise = ("\\", "--")
    return "\n".join(
        line
        for line in dump.stdout.splitlines()
        if not line.startswith(noise) and "pg_attver" not in line
    )


async def current(dsn: str) -> str | None:
    """The revision that a database is at, None if it has none."""
    if not (await fetch(dsn, "SELECT to_regclass('alembic_version') AS name"))[0]["name"]:
        return None
    return str((await fetch(dsn, "SELECT version_num FROM alembic_version"))[0]["version_num"])


def sql_of(revision: str) -> str:
    """The schema of a release before this one."""
    output = io.StringIO()
    command.upgrade(config(output), revision, sql=True)
    return output.getvalue()


def psql(binaries: Path, dsn: str, *arguments: str) -> None:
    subprocess.run(
        [binaries / "psql", "-v", "ON_ERROR_STOP=1", "-q", "-d", dsn, *arguments],
        capture_output=True,
        check=True,
    )


async def test_an_empty_database_comes_to_head(empty_dsn: str) -> None:
    assert await current(empty_dsn) is None
    assert await upgrade(empty_dsn) is None
    assert await current(empty_dsn) == HEAD


async def test_ten_at_once_migrate_once(empty_dsn: str) -> None:
    found = await asyncio.gather(*(upgrade(empty_dsn) for _ in range(10)))
    assert sorted(found, key=str) == [HEAD] * 9 + [None]


def test_head_is_the_newest_of_the_scripts() -> None:
    assert script_head() == HEAD


def test_at_head_neither_alembic_nor_sqlalchemy_is_imported(database_dsn: str) -> None:
    subprocess.run([sys.executable, "-c", NOTHING_TO_DO, database_dsn], check=True)


async def test_the_schema_of_a_newer_release_is_left_alone(database_dsn: str) -> None:
    await execute(database_dsn, "UPDATE alembic_version SET version_num = '9999'")
    assert await upgrade(database_dsn) == "9999"
    assert await current(database_dsn) == "9999"


async def test_the_books_insert_works(database_dsn: str) -> None:
    await execute(database_dsn, BOOKS_INSERT)
    (row,) = await fetch(database_dsn, "SELECT id, text, prediction, created_at FROM predictions")
    assert (row["text"], row["prediction"]) == ("I love AI!", "POSITIVE")
    assert row["id"].version == 7
    assert row["id"].variant == "specified in RFC 4122"
    assert time_in(row["id"]) == row["created_at"]


async def test_every_row_of_the_books_table_lives_on(empty_dsn: str) -> None:
    await execute(
        empty_dsn,
        BOOKS_TABLE,
        BOOKS_INSERT,
        BOOKS_INSERT,
        "INSERT INTO predictions (text, created_at) VALUES ('old', '2023-05-06 07:08:09.123456')",
        "INSERT INTO predictions (text, created_at) VALUES ('no time', NULL)",
        "INSERT INTO predictions (text, created_at) VALUES ('no end', 'infinity')",
    )
    await upgrade(empty_dsn)
    rows = await fetch(empty_dsn, "SELECT * FROM predictions ORDER BY request_id")
    assert [(row["request_id"], row["text"], row["prediction"]) for row in rows] == [
        ("book-1", "I love AI!", "POSITIVE"),
        ("book-2", "I love AI!", "POSITIVE"),
        ("book-3", "old", None),
        ("book-4", "no time", None),
        ("book-5", "no end", None),
    ]
    assert all(time_in(row["id"]) == row["created_at"] for row in rows)
    assert rows[2]["created_at"].isoformat() == "2023-05-06T07:08:09.123000+00:00"
    await execute(empty_dsn, BOOKS_INSERT)


async def test_a_table_that_is_not_the_books_is_left_as_it_was(empty_dsn: str) -> None:
    await execute(empty_dsn, "CREATE TABLE predictions (horoscope text)")
    with pytest.raises(StartError, match=r"is as it was: column \"id\" does not exist"):
        await upgrade(empty_dsn)
    assert await current(empty_dsn) is None
    await execute(empty_dsn, "SELECT horoscope FROM predictions")


async def test_who_may_not_make_tables_is_told_so(empty_dsn: str) -> None:
    database = empty_dsn.rpartition("/")[2]
    await execute(empty_dsn, "REVOKE CREATE ON SCHEMA public FROM PUBLIC, pg_database_owner")
    with pytest.raises(DatabaseUnavailable, match=f"{database} .*permission denied for schema"):
        await upgrade(empty_dsn)


async def test_without_postgresql_the_error_says_where_it_looked(unused_tcp_port: int) -> None:
    with pytest.raises(DatabaseUnavailable, match=f"127.0.0.1:{unused_tcp_port}/ai_db"):
        await upgrade(f"postgresql://user:password@127.0.0.1:{unused_tcp_port}/ai_db")


async def test_a_postgresql_that_goes_silent_after_it_was_reached_is_given_up(
    database_dsn: str,
) -> None:
    other = await asyncpg.connect(database_dsn)
    async with other.transaction():
        await other.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseUnavailable, match="does not answer in time"):
            await upgrade(database_dsn, answer_seconds=0.2)
    await other.close()


async def test_it_says_that_it_waits_for_another_upgrade(
    empty_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    other = await asyncpg.connect(empty_dsn)
    await other.execute("SELECT pg_advisory_lock($1)", LOCK)
    upgraded = asyncio.create_task(upgrade(empty_dsn))
    while "Waiting for another upgrade" not in caplog.text:  # noqa: ASYNC110 - logs wake nobody
        await asyncio.sleep(0.01)
    assert not upgraded.done()
    await other.close()
    assert await upgraded is None
    assert caplog.text.count("Waiting for another upgrade") == 1


async def test_an_address_whose_password_has_no_clear_end_is_not_repeated() -> None:
    with pytest.raises(SettingsError, match="percent-encode") as raised:
        await upgrade("postgresql://user:12/hush@127.0.0.1:1/ai_db")
    assert "hush" not in str(raised.value)


async def test_an_address_of_another_kind_is_a_setting_to_mend() -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL is not a PostgreSQL address"):
        await upgrade("mysql://127.0.0.1/ai_db")


async def test_it_waits_for_postgresql_and_says_so(
    postgres: EmbeddedPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    address = postgres.start()
    postgres.stop()
    upgraded = asyncio.create_task(upgrade(address, wait_seconds=60))
    while "Waiting for PostgreSQL" not in caplog.text:  # noqa: ASYNC110 - logs wake nobody
        await asyncio.sleep(0.01)
    assert postgres.start() == address
    await upgraded
    assert await current(address) == HEAD
    assert str(urlsplit(address).password) not in caplog.text


def test_init_sql_is_what_the_migrations_say() -> None:
    assert INIT_SQL.read_text() == init_sql(), "run `make generate`"


async def test_init_sql_makes_the_same_schema(
    empty_dsn: str, database_dsn: str, postgres_binaries: Path
) -> None:
    psql(postgres_binaries, empty_dsn, "-f", str(INIT_SQL))
    assert schema(postgres_binaries, empty_dsn) == schema(postgres_binaries, database_dsn)
    assert await upgrade(empty_dsn) == HEAD


async def partitions(dsn: str) -> dict[str, int]:
    """The rows in each of the table's parts."""
    found = await fetch(
        dsn,
        "SELECT inhrelid::regclass::text AS part FROM pg_inherits"
        " WHERE inhparent = 'predictions'::regclass ORDER BY 1",
    )
    counts = {}
    for row in found:
        counted = await fetch(dsn, f"SELECT count(*) AS rows FROM ONLY {row['part']}")
        counts[row["part"]] = counted[0]["rows"]
    return counts


INDEXES = """
SELECT parent.relname AS index, count(*) FILTER (WHERE indisvalid) AS valid
FROM pg_class AS parent
JOIN pg_inherits ON inhparent = parent.oid
JOIN pg_index ON indexrelid = inhrelid
WHERE parent.relkind = 'I' GROUP BY 1
"""
ROWS = """
INSERT INTO predictions (text, score) SELECT 'text ' || n, n FROM generate_series(1, 1000) AS n
"""
ALL_ROWS = "SELECT to_json(predictions) AS row FROM predictions ORDER BY id"
# As the servers of releases before the column `engine` write and read.
OLDER_COLUMNS = """
    id, created_at, text, prediction, score, scores, model, revision, "precision", tokens,
    truncated, queue_seconds, inference_seconds, request_id, subject
"""
OLDER_INSERT = f"""
INSERT INTO predictions ({OLDER_COLUMNS})
SELECT sentiment_uuidv7(), now(), $1, 'POSITIVE', 1, '{{}}', 'older', 'r', 'int8', 1,
    false, 0, 0, '', NULL
ON CONFLICT DO NOTHING
"""
OLDER_READ = f"""
SELECT {OLDER_COLUMNS}
FROM (SELECT *, row_number() OVER () AS looked_at FROM predictions) AS looked_at ORDER BY id
"""


@pytest.fixture(params=["0001", "0002"])
def older(request: pytest.FixtureRequest) -> str:
    """A revision that a release before this one left."""
    return str(request.param)


class TestFromAReleaseBefore:
    @pytest.fixture
    async def older_dsn(self, empty_dsn: str, older: str) -> str:
        """A database as that release left it, with rows."""
        await execute(empty_dsn, sql_of(older), ROWS)
        return empty_dsn

    async def test_every_row_lives_on_and_the_schema_is_that_of_a_new_database(
        self, older_dsn: str, older: str, database_dsn: str, postgres_binaries: Path
    ) -> None:
        before = await fetch(older_dsn, ALL_ROWS)
        assert await upgrade(older_dsn) == older
        after = await fetch(older_dsn, ALL_ROWS)
        assert [json.loads(row["row"]) for row in after] == [
            json.loads(row["row"]) | {"engine": None} for row in before
        ]
        assert schema(postgres_binaries, older_dsn) == schema(postgres_binaries, database_dsn)

    async def test_ten_at_once_migrate_once(self, older_dsn: str, older: str) -> None:
        found = await asyncio.gather(*(upgrade(older_dsn) for _ in range(10)))
        assert sorted(map(str, found)) == [older] + [HEAD] * 9

    @pytest.mark.parametrize("older", ["0001"], indirect=True)
    async def test_an_index_that_an_earlier_try_left_unfinished_is_made_again(
        self, older_dsn: str, database_dsn: str, postgres_binaries: Path
    ) -> None:
        await execute(older_dsn, "INSERT INTO predictions (text, score) VALUES ('again', 1)")
        week = next(part for part, rows in (await partitions(older_dsn)).items() if rows)
        with pytest.raises(asyncpg.UniqueViolationError):
            await execute(
                older_dsn,
                f"CREATE UNIQUE INDEX CONCURRENTLY {week}_score_idx ON {week} (score)",
            )
        await upgrade(older_dsn)
        assert schema(postgres_binaries, older_dsn) == schema(postgres_binaries, database_dsn)

    async def test_rows_come_in_while_the_log_changes(self, older_dsn: str, older: str) -> None:
        reader = await asyncpg.connect(older_dsn)
        await reader.execute("BEGIN")
        await reader.fetch("SELECT FROM predictions LIMIT 1")
        upgraded = asyncio.create_task(upgrade(older_dsn))
        waits = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = $1"
        while not await fetch(older_dsn, waits, older_dsn.rpartition("/")[2]):
            assert not upgraded.done()
        for _ in range(10):  # the reader holds the upgrade up, which holds nobody up
            await execute(older_dsn, "SET statement_timeout = '2s';" + BOOKS_INSERT)
        assert not upgraded.done()
        await reader.close()
        assert await upgraded == older

    async def test_the_books_insert_works_beside_it(self, older_dsn: str) -> None:
        await upgrade(older_dsn)
        await execute(older_dsn, BOOKS_INSERT)

    async def test_an_older_servers_insert_goes_on_across_it(self, older_dsn: str) -> None:
        server = await asyncpg.connect(older_dsn)
        insert = await server.prepare(OLDER_INSERT)
        await insert.fetch("before")
        await upgrade(older_dsn)
        await insert.fetch("after")
        await server.close()
        found = await fetch(older_dsn, "SELECT engine FROM predictions WHERE model = 'older'")
        assert [row["engine"] for row in found] == [None, None]

    async def test_an_older_servers_read_goes_on_across_it(self, older_dsn: str) -> None:
        server = await asyncpg.connect(older_dsn)
        read = await server.prepare(OLDER_READ)
        before = await read.fetch()
        await upgrade(older_dsn)
        assert await read.fetch() == before
        await server.close()


async def test_later_weeks_have_all_indexes(database_dsn: str) -> None:
    await execute(database_dsn, "SELECT sentiment_ensure_partitions(9)")
    found = {row["index"]: row["valid"] for row in await fetch(database_dsn, INDEXES)}
    assert len(found) == 6
    assert set(found.values()) == {10 + 1}


@pytest.mark.parametrize("unit", ["a_", "~/", "/.", "<!--", "a@b.c/", "word "])
async def test_no_text_holds_a_commit_up(database_dsn: str, unit: str) -> None:
    text = (unit * 65_536)[:65_536]
    connection = await asyncpg.connect(database_dsn)
    await connection.execute("SET statement_timeout = '500ms'")
    await connection.execute("INSERT INTO predictions (text) VALUES ($1)", text)
    await connection.close()


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("A great movie.It moves!", "Movie"),
        ("mail a.b@example.com", "a.b@example.com"),
        ("read https://example.com/a_b", '"example com a_b"'),
        ("family-oriented", "family-oriented"),
        ("Großartig, wirklich", "GROSSARTIG or großartig"),
        ("非常 好", "好"),
        ("not so bad", 'bad -good "so bad"'),
    ],
)
async def test_a_text_is_found_by_its_words(database_dsn: str, text: str, query: str) -> None:
    found = "SELECT sentiment_words($1) @@ sentiment_search($2) AS found"
    assert (await fetch(database_dsn, found, text, query))[0]["found"]
    assert not (await fetch(database_dsn, found, text, "something else"))[0]["found"]


async def test_a_row_goes_to_its_week(database_dsn: str) -> None:
    await execute(database_dsn, BOOKS_INSERT)
    (row,) = await fetch(
        database_dsn,
        "SELECT 'predictions_' || to_char(date_trunc('week', now() AT TIME ZONE 'UTC'), 'YYYYMMDD')"
        " AS week",
    )
    assert {part for part, rows in (await partitions(database_dsn)).items() if rows} == {
        row["week"]
    }


async def test_this_week_and_four_more_are_made_ahead(database_dsn: str) -> None:
    assert len(await partitions(database_dsn)) == 5 + 1  # and the default one


async def test_rows_in_the_default_partition_move_into_their_week(database_dsn: str) -> None:
    await execute(
        database_dsn,
        "INSERT INTO predictions (text, created_at, engine)"
        " SELECT 'later', now() + n * interval '1 day', 'e' FROM generate_series(60, 69) AS n",
        "INSERT INTO predictions (text, created_at) VALUES ('long ago', '2001-01-01')",
    )
    assert (await partitions(database_dsn))["predictions_default"] == 11
    await execute(database_dsn, "SELECT sentiment_ensure_partitions(10)")
    found = await partitions(database_dsn)
    assert found["predictions_default"] == 1
    assert sum(found.values()) == 11
    assert len(await fetch(database_dsn, "SELECT FROM predictions WHERE engine = 'e'")) == 10


async def test_ten_at_once_make_each_partition_once(database_dsn: str) -> None:
    found = await asyncio.gather(
        *(fetch(database_dsn, "SELECT sentiment_ensure_partitions(9) AS made") for _ in range(10))
    )
    assert sum(rows[0]["made"] for rows in found) == 5
    assert len(await partitions(database_dsn)) == 10 + 1


async def test_partitions_can_be_made_while_rows_come_in(database_dsn: str) -> None:
    writer = await asyncpg.connect(database_dsn)
    async with writer.transaction():
        await writer.execute(BOOKS_INSERT)
        await execute(database_dsn, "SELECT sentiment_ensure_partitions(6)")
    await writer.close()
    assert len(await partitions(database_dsn)) == 7 + 1


async def test_a_row_without_a_text_is_refused(database_dsn: str) -> None:
    with pytest.raises(asyncpg.NotNullViolationError):
        await execute(database_dsn, "INSERT INTO predictions (prediction) VALUES ('POSITIVE')")
