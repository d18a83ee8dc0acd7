import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest

from sentiment_k8s.database import Database
from sentiment_k8s.errors import NotFound, RequestError
from sentiment_k8s.feedback import give
from sentiment_k8s.pages import prediction, predictions
from sentiment_k8s.testing import example_row

from .postgres_fixtures import execute, fetch

WAITING = """
SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


async def test_feedback_is_shown_with_its_row(database: Database) -> None:
    row = example_row()
    await database.insert([row])
    kept = await give(database, row.id, "NEGATIVE", "it was irony")
    assert (kept["label"], kept["comment"]) == ("NEGATIVE", "it was irony")
    found = await prediction(database, row.id)
    assert found
    assert found["feedback"] == kept
    [in_page], _ = await predictions(database)
    assert in_page == found


async def test_the_same_again_changes_nothing_and_another_replaces_it(
    database: Database, database_dsn: str
) -> None:
    row = example_row()
    await database.insert([row])
    first = await give(database, row.id, "NEGATIVE")
    await execute(database_dsn, "UPDATE feedback SET given_at = given_at - interval '1 hour'")
    found = await prediction(database, row.id)
    assert found
    assert await give(database, row.id, "NEGATIVE") == found["feedback"]
    other = await give(database, row.id, "POSITIVE", "no, it was not")
    assert (other["label"], other["comment"]) == ("POSITIVE", "no, it was not")
    assert other["given_at"] >= first["given_at"]
    assert len(await fetch(database_dsn, "SELECT FROM feedback")) == 1


async def test_feedback_that_has_to_wait_for_another_session_keeps_no_row_waiting(
    database_dsn: str,
) -> None:
    row, database = example_row(), Database(database_dsn, write_seconds=20)
    await database.insert([row])
    await give(database, row.id, "NEGATIVE")
    other = await asyncpg.connect(database_dsn)
    async with other.transaction():
        await other.execute("UPDATE feedback SET comment = 'mine'")
        waiting = asyncio.create_task(give(database, row.id, "POSITIVE"))
        async with asyncio.timeout(20):
            while not await fetch(database_dsn, WAITING):  # noqa: ASYNC110 - a lock wakes nobody
                await asyncio.sleep(0.01)
        await database.insert([example_row()])
    await waiting
    await other.close()
    await database.close()


async def test_a_row_that_is_not_there_gets_none(database: Database) -> None:
    with pytest.raises(NotFound):
        await give(database, uuid4(), "NEGATIVE")


async def test_a_label_that_the_model_does_not_know_is_refused(database: Database) -> None:
    row = example_row()
    await database.insert([row])
    with pytest.raises(RequestError, match="the model knows NEGATIVE, POSITIVE"):
        await give(database, row.id, "negative")


async def test_characters_that_postgresql_cannot_hold_are_refused(database: Database) -> None:
    row = example_row()
    await database.insert([row])
    with pytest.raises(RequestError, match="cannot hold"):
        await give(database, row.id, "NEGATIVE", "\ud800")


async def test_a_row_by_hand_without_scores_takes_any_label(
    database: Database, database_dsn: str
) -> None:
    await execute(database_dsn, "INSERT INTO predictions (text) VALUES ('by hand')")
    [row], _ = await predictions(database)
    assert (await give(database, UUID(row["id"]), "GOOD"))["label"] == "GOOD"
