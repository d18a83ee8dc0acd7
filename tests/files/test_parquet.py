"""Parquet in and out."""

import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sentiment_k8s.errors import InputError

from .fake import classify, outcome, stop_after

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

DAY = datetime.datetime(2026, 11, 23, 20, 30)


def table(rows: int = 10) -> Any:
    return pa.table(
        {
            "id": pa.array(range(rows), pa.uint16()),
            "text": [f"text {'!' * (number % 50)}" for number in range(rows)],
            "label": pa.array(["a", "b"] * (rows // 2)).dictionary_encode(),
            "at": pa.array([1_700_000_000_000_000_001] * rows, pa.timestamp("ns")),
            "tags": [[{"x": number}] for number in range(rows)],
        }
    )


def test_columns_keep_their_types_and_ours_follow(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "in.parquet", row_group_size=4)
    classify(tmp_path / "in.parquet", tmp_path / "out.parquet", chunk_rows=3)
    result = pq.read_table(tmp_path / "out.parquet")
    assert result.select(table().column_names).equals(table())
    assert result.column_names[5:] == ["prediction", "score", "truncated", "error"]
    expected = [outcome(text).prediction for text in table()["text"].to_pylist()]
    assert result["prediction"].to_pylist() == expected


def test_a_run_goes_on_in_the_middle_of_a_row_group(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "in.parquet", row_group_size=7)
    classify(tmp_path / "in.parquet", tmp_path / "whole.parquet", chunk_rows=3)
    stop_after(1, tmp_path / "in.parquet", tmp_path / "out.parquet", chunk_rows=3)
    summary = classify(tmp_path / "in.parquet", tmp_path / "out.parquet", chunk_rows=3)
    assert summary.resumed == 3
    whole, out = (tmp_path / name for name in ("whole.parquet", "out.parquet"))
    assert out.read_bytes() == whole.read_bytes()


def test_another_file_of_the_same_name_is_not_gone_on_with(tmp_path: Path) -> None:
    pq.write_table(table(10), tmp_path / "in.parquet")
    stop_after(1, tmp_path / "in.parquet", tmp_path / "out.parquet", chunk_rows=3)
    pq.write_table(table(12), tmp_path / "in.parquet")
    with pytest.raises(InputError, match="has changed since"):
        classify(tmp_path / "in.parquet", tmp_path / "out.parquet", chunk_rows=3)


def test_no_rows_give_a_file_with_the_columns(tmp_path: Path) -> None:
    pq.write_table(table(0), tmp_path / "in.parquet")
    classify(tmp_path / "in.parquet", tmp_path / "out.parquet")
    result = pq.read_table(tmp_path / "out.parquet")
    assert result.num_rows == 0
    assert result.column_names[-4:] == ["prediction", "score", "truncated", "error"]


def test_parquet_becomes_json_lines(tmp_path: Path) -> None:
    row = {"text": "good", "at": DAY, "raw": b"\xff", "n": float("nan"), "gone": None}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "in.parquet")
    classify(tmp_path / "in.parquet", tmp_path / "out.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_text()) == {
        "text": "good",
        "at": "2026-11-23T20:30:00",
        "raw": "/w==",
        "n": None,
        "gone": None,
        "prediction": "POSITIVE",
        "score": 0.2,
        "truncated": False,
    }


def test_csv_and_json_lines_become_parquet_of_strings(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "good", "n": 1, "t": [1]}\n{"text": "\\ud800"}\n')
    classify(tmp_path / "in.jsonl", tmp_path / "out.parquet")
    good, bad = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert (good["text"], good["n"], good["t"], good["score"]) == ("good", "1", "[1]", 0.2)
    assert (bad["text"], bad["n"], bad["prediction"]) == ("\\ud800", None, None)


def test_nanoseconds_are_kept_in_csv(tmp_path: Path) -> None:
    pq.write_table(table(2), tmp_path / "in.parquet")
    classify(tmp_path / "in.parquet", tmp_path / "out.csv")
    assert "2023-11-14 22:13:20.000000001" in (tmp_path / "out.csv").read_text()


def test_a_null_is_a_row_with_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["good", None]}), tmp_path / "in.parquet")
    assert classify(tmp_path / "in.parquet", tmp_path / "out.parquet").exit_code == 1
    errors = pq.read_table(tmp_path / "out.parquet")["error"].to_pylist()
    assert errors == [None, "The text is missing."]


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"text": [1]}, r"Column 'text' of .* holds int64, not text"),
        ({"a": ["x"], "b": ["y"]}, r"the columns are: 'a', 'b'"),
    ],
)
def test_a_column_that_holds_no_texts_is_a_sentence(
    tmp_path: Path, columns: dict[str, list[object]], sentence: str
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    with pytest.raises(InputError, match=sentence):
        classify(tmp_path / "in.parquet", tmp_path / "out.parquet")


def test_bytes_that_are_not_utf8_are_a_sentence(tmp_path: Path) -> None:
    texts = pa.array([b"good", b"\xe9"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": texts}), tmp_path / "in.parquet")
    with pytest.raises(InputError, match=r"'text' of .* is not UTF-8 in one of rows 1 to 2"):
        classify(tmp_path / "in.parquet", tmp_path / "out.parquet")


def test_a_file_that_is_not_parquet_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "in.parquet").write_text("text\n")
    with pytest.raises(InputError, match=r"is not a Parquet file"):
        classify(tmp_path / "in.parquet", tmp_path / "out.parquet")


def test_parquet_needs_a_file_on_both_sides(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "in.parquet")
    with pytest.raises(InputError, match=r"standard output; name a file: --output FILE.parquet"):
        classify(tmp_path / "in.parquet")
    with pytest.raises(InputError, match=r"from standard input; give the file's name"):
        classify("-", tmp_path / "out.parquet", format="parquet")


def test_without_pyarrow_the_sentence_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from sentiment_k8s.classify import Job, open_files\n"
        "with open_files(Job('a.parquet', 'b.parquet')): pass"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert 'InputError: Parquet needs pyarrow: pip install "sentiment-k8s[parquet]".' in done.stderr
