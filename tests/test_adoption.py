import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sentiment_k8s.adoption import adopt, drain_folder
from sentiment_k8s.database import Database
from sentiment_k8s.errors import DatabaseUnavailable, SettingsError
from sentiment_k8s.metrics import Metrics
from sentiment_k8s.spool import Spool
from sentiment_k8s.testing import example_row

from .postgres_fixtures import execute, fetch

PLENTY = 64 * 1024 * 1024


@pytest.fixture
async def database(database_dsn: str) -> AsyncIterator[Database]:
    database = Database(database_dsn)
    yield database
    await database.close()


def opened(folder: Path) -> Spool:
    return Spool(folder, PLENTY, Metrics())


def left_behind(folder: Path, *texts: str) -> Path:
    """The folder of a server that is gone."""
    spool = opened(folder)
    spool.append([example_row(text) for text in texts])
    spool.close()
    return folder


async def logged(dsn: str) -> list[str]:
    return [row["text"] for row in await fetch(dsn, "SELECT text FROM predictions ORDER BY text")]


def folders(parent: Path) -> list[str]:
    return sorted(path.name for path in parent.iterdir())


async def test_folders_of_servers_that_are_gone_are_written_and_removed(
    database: Database, database_dsn: str, tmp_path: Path
) -> None:
    own = opened(tmp_path / "own")
    left_behind(tmp_path / "gone", "one", "two")
    left_behind(tmp_path / "gone too", "three")
    (tmp_path / "no spool").mkdir()
    await adopt(own.folder, PLENTY, database, Metrics())
    own.close()
    assert folders(tmp_path) == ["no spool", "own"]
    assert await logged(database_dsn) == ["one", "three", "two"]


async def test_a_folder_with_a_lock_that_is_no_spool_is_not_touched(
    database: Database, tmp_path: Path
) -> None:
    own, other = opened(tmp_path / "own"), tmp_path / "other"
    other.mkdir()
    (other / "lock").write_text("of another program")
    (other / "data").touch()
    await adopt(own.folder, PLENTY, database, Metrics())
    own.close()
    assert (other / "lock").read_text() == "of another program"


async def test_the_folder_of_a_living_server_is_left_alone(
    database: Database, database_dsn: str, tmp_path: Path
) -> None:
    own, other = opened(tmp_path / "own"), opened(tmp_path / "other")
    other.append([example_row("its own")])
    await adopt(own.folder, PLENTY, database, Metrics())
    assert await logged(database_dsn) == []
    assert other.rows == 1
    own.close()
    other.close()


async def test_without_postgresql_an_adopted_folder_keeps_its_rows_and_is_free(
    unused_tcp_port: int, tmp_path: Path
) -> None:
    gone = left_behind(tmp_path / "gone", "one")
    nowhere = Database(f"postgresql://127.0.0.1:{unused_tcp_port}/ai_db")
    with pytest.raises(DatabaseUnavailable):
        await adopt(tmp_path / "own", PLENTY, nowhere, Metrics())
    spool = opened(gone)
    assert spool.rows == 1
    spool.close()


async def test_a_folder_with_damage_stays_for_a_person(
    database: Database, database_dsn: str, tmp_path: Path
) -> None:
    gone = left_behind(tmp_path / "gone", "one", "bad", "two")
    await execute(database_dsn, "ALTER TABLE predictions ADD CHECK (text <> 'bad')")
    metrics = Metrics()
    for _ in range(2):
        await adopt(tmp_path / "own", PLENTY, database, metrics)
    assert await logged(database_dsn) == ["one", "two"]
    assert folders(gone) == ["damaged", "lock"]
    value = metrics.registry.get_sample_value("sentiment_spool_damaged_records_total")
    assert value == 1


async def test_one_folder_can_be_drained_by_hand(database_dsn: str, tmp_path: Path) -> None:
    said: list[str] = []
    left_behind(tmp_path, "one", "two")
    await drain_folder(tmp_path, database_dsn, said.append)
    assert said == [f"2 rows of {tmp_path} are in the database."]
    assert await logged(database_dsn) == ["one", "two"]


async def test_a_folder_in_use_is_not_drained_by_hand(database_dsn: str, tmp_path: Path) -> None:
    spool = opened(tmp_path)
    with pytest.raises(SettingsError, match=f"in use by another sentiment .process {os.getpid()}"):
        await drain_folder(tmp_path, database_dsn, print)
    spool.close()
