"""Which format a file has."""

from pathlib import Path

import pytest

from sentiment_k8s.errors import InputError
from sentiment_k8s.files.formats import Format, input_format

from .fake import classify


@pytest.mark.parametrize(
    ("path", "asked", "kind"),
    [
        ("a.csv", "auto", Format.CSV),
        ("a.TSV", "auto", Format.CSV),
        ("a.ndjson", "auto", Format.JSONL),
        ("a.txt", "auto", Format.LINES),
        ("a.pq", "auto", Format.PARQUET),
        ("a.txt", "csv", Format.CSV),
        ("-", "auto", Format.LINES),
        ("-", "jsonl", Format.JSONL),
    ],
)
def test_the_extension_tells_the_format_unless_it_is_said(
    path: str, asked: str, kind: Format
) -> None:
    assert input_format(path, asked) is kind


def test_an_extension_that_says_nothing_is_a_sentence() -> None:
    with pytest.raises(InputError, match=r"'notes' does not tell its format; say --format csv"):
        input_format("notes")


def test_an_output_without_a_telling_name_keeps_the_format_of_the_input(tmp_path: Path) -> None:
    (tmp_path / "in.tsv").write_text("id\ttext\n1\tgood\n")
    classify(tmp_path / "in.tsv", tmp_path / "out")
    assert (tmp_path / "out").read_text().startswith("id\ttext\tprediction\t")


def test_the_name_of_the_output_tells_its_format(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text\ngood\n")
    classify(tmp_path / "in.csv", tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == (
        '{"text": "good", "prediction": "POSITIVE", "score": 0.2, "truncated": false}\n'
    )
