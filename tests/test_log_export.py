import csv
import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from sentiment_k8s.cli import main
from sentiment_k8s.database import Database
from sentiment_k8s.errors import DatabaseUnavailable, InputError
from sentiment_k8s.feedback import give
from sentiment_k8s.log_export import COLUMNS, export_log, export_to
from sentiment_k8s.pages import all_predictions, predictions
from sentiment_k8s.schemas import LoggedPrediction
from sentiment_k8s.search import Filters
from sentiment_k8s.testing import example_row

from .postgres_fixtures import execute

TEXTS = ["plain", 'with "quotes", commas\nand lines', "bare \r return", "=1+1", "ünï ❤", ""]


@pytest.fixture
async def rows(database: Database, database_dsn: str) -> list[dict[str, Any]]:
    """Rows of the log, one of them with feedback and one by hand, as pages show them."""
    inserted = [example_row(text, subject="person-1") for text in TEXTS]
    await database.insert(inserted)
    await give(database, inserted[1].id, "NEGATIVE", "not, at all")
    await execute(database_dsn, "INSERT INTO predictions (text) VALUES ('by hand')")
    return (await predictions(database))[0]


def flat(row: dict[str, Any]) -> dict[str, Any]:
    feedback = row["feedback"] or {}
    return {name: row[name] for name in row if name != "feedback"} | {
        f"feedback_{name}": feedback.get(name) for name in ("label", "comment", "given_at")
    }


def test_every_column_of_a_row_is_exported() -> None:
    assert COLUMNS[:-3] == [name for name in LoggedPrediction.model_fields if name != "feedback"]


async def test_csv_comes_back_as_it_was(
    database: Database, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    for name, delimiter in (("log.csv", ","), ("log.tsv", "\t")):
        assert await export_log(database, Filters(), tmp_path / name, replace=False) == len(rows)
        with (tmp_path / name).open(newline="") as file:
            read = list(csv.DictReader(file, delimiter=delimiter))
        assert list(read[0]) == COLUMNS
        assert [row["text"] for row in read] == [row["text"] for row in rows]
        by_text = {row["text"]: row for row in read}
        assert json.loads(by_text["plain"]["scores"]) == {"NEGATIVE": 0.25, "POSITIVE": 0.75}
        assert by_text[TEXTS[1]]["feedback_comment"] == "not, at all"
        assert by_text["by hand"]["prediction"] == ""


async def test_json_lines_are_the_rows_of_pages(
    database: Database, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    await export_log(database, Filters(), path, replace=False)
    assert [json.loads(line) for line in path.read_text().splitlines()] == rows


async def test_parquet_has_numbers_times_and_a_map_of_scores(
    database: Database, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "log.parquet"
    assert await export_log(database, Filters(), path, replace=False) == len(rows)
    table = pq.read_table(path)
    assert table.column_names == COLUMNS
    for found, row in zip(table.to_pylist(), map(flat, rows), strict=True):
        for name in ("created_at", "feedback_given_at"):
            assert found[name] == (row[name] and datetime.fromisoformat(row[name]))
        assert dict(found["scores"] or {}) == (row["scores"] or {})
        for name in set(COLUMNS) - {"created_at", "feedback_given_at", "scores"}:
            assert found[name] == row[name], name


async def test_an_empty_log_is_a_file_without_rows(database: Database, tmp_path: Path) -> None:
    for name in ("log.csv", "log.jsonl", "log.parquet"):
        assert await export_log(database, Filters(), tmp_path / name, replace=False) == 0
    assert (tmp_path / "log.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert pq.read_table(tmp_path / "log.parquet").num_rows == 0


async def test_only_rows_that_pass_the_filters_are_exported(
    database: Database, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    assert await export_log(database, Filters(text="plain"), tmp_path / "a.csv", replace=False) == 1


async def test_a_file_is_replaced_only_when_asked(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("precious")
    with pytest.raises(InputError, match="exists; --replace"):
        await export_log(database, Filters(), path, replace=False)
    assert path.read_text() == "precious"
    await export_log(database, Filters(), path, replace=True)
    assert path.read_text() == ",".join(COLUMNS) + "\n"
    assert os.listdir(tmp_path) == ["log.csv"]  # noqa: PTH208  # async


@pytest.mark.parametrize("name", ["log", "log.txt", "log.xlsx"])
async def test_a_name_without_a_format_of_ours_is_refused(
    database: Database, tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError, match=r"end it in \.csv"):
        await export_log(database, Filters(), tmp_path / name, replace=False)


async def test_an_export_that_fails_leaves_no_file(tmp_path: Path, unused_tcp_port: int) -> None:
    dsn = f"postgresql://user@127.0.0.1:{unused_tcp_port}/ai_db"
    with pytest.raises(DatabaseUnavailable):
        await export_to(tmp_path / "log.parquet", dsn, Filters(), replace=False)
    assert os.listdir(tmp_path) == []  # noqa: PTH208


async def test_rows_come_in_parts_of_bounded_size(database: Database) -> None:
    await database.insert([example_row(f"{n} {'x' * 1000}") for n in range(1000)])
    sizes = [len(part) async for part in all_predictions(database)]
    assert sum(sizes) == 1000
    assert max(sizes) < 300
    assert [len(part) async for part in all_predictions(database, most=7)] == [7]


def test_a_command_exports_the_log(database_dsn: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    command = ["log", "export", str(path), "--since", "2026-01-01", "--label", "GOOD"]
    done = CliRunner().invoke(main, command, env={"DATABASE_URL": database_dsn})
    assert done.output == f"0 rows: {path}\n"
    assert done.exit_code == 0
    done = CliRunner().invoke(main, [*command[:3], "--since", "yesterday"])
    assert done.exit_code == 1
    assert "since" in done.output
