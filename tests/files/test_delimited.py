"""CSV in and out."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_k8s.errors import InputError

from .fake import classify, outcome

# Without lone surrogates, which no file in UTF-8 holds.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=8))
def test_every_field_comes_out_as_it_went_in(
    tmp_path_factory: pytest.TempPathFactory, fields: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    source = io.StringIO()
    writer = csv.writer(source, quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "other"), *fields])
    classify(written(folder / "in.csv", source.getvalue()), folder / "out.csv", chunk_rows=3)
    assert [(row["text"], row["other"]) for row in rows_of(folder / "out.csv")] == fields


def test_prediction_score_truncated_and_error_follow_the_columns(tmp_path: Path) -> None:
    source = written(tmp_path / "in.csv", f"id,text\n1,good\n2,\n3,poison\n4,{'x' * 41}\n")
    summary = classify(source, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines() == [
        "id,text,prediction,score,truncated,error",
        "1,good,POSITIVE,0.2,false,",
        "2,,,,false,The text is empty.",
        "3,poison,,,false,The model failed on this text.",
        f"4,{'x' * 41},NEGATIVE,{round(1 / 7, 6)},true,",
    ]
    assert (summary.tally.rows, summary.tally.errors, summary.tally.truncated) == (4, 2, 1)
    assert summary.exit_code == 1
    assert summary.first_error == (2, "The text is empty.")


def test_quotes_line_breaks_in_quotes_and_a_byte_order_mark_are_understood(tmp_path: Path) -> None:
    source = written(tmp_path / "in.csv", 'text,id\r\n"so ""good"",\r\nreally",1\r\n', "utf-8-sig")
    classify(source, tmp_path / "out.csv")
    (row,) = rows_of(tmp_path / "out.csv")
    assert (row["text"], row["id"]) == ('so "good",\r\nreally', "1")
    assert row["prediction"] == outcome(row["text"]).prediction


@pytest.mark.parametrize(
    ("name", "text"), [("a.tsv", "id\ttext\n1\tgood, really\n"), ("a.csv", "id;text\n1;good\n")]
)
def test_tabs_and_semicolons_separate_fields_too(tmp_path: Path, name: str, text: str) -> None:
    output = tmp_path / f"out{Path(name).suffix}"
    classify(written(tmp_path / name, text), output)
    mark = text[2]
    header, row = output.read_text().splitlines()
    assert header.split(mark if mark == "\t" else ",")[:3] == ["id", "text", "prediction"]
    assert "POSITIVE" in row


def test_a_column_with_a_name_of_ours_is_kept_and_ours_gets_a_number(tmp_path: Path) -> None:
    source = written(tmp_path / "in.csv", "text,score,score_2\ngood,7,8\n")
    classify(source, tmp_path / "out.csv")
    (row,) = rows_of(tmp_path / "out.csv")
    assert (row["score"], row["score_2"], row["score_3"]) == ("7", "8", "0.2")


def test_repeated_and_nameless_columns_are_kept(tmp_path: Path) -> None:
    source = written(tmp_path / "in.csv", "text,a,a,,\ngood,1,2,3,4\n")
    classify(source, tmp_path / "out.csv")
    header, row = (tmp_path / "out.csv").read_text().splitlines()
    assert header.startswith("text,a,a_2,,_2,prediction")
    assert row.startswith("good,1,2,3,4,POSITIVE")


def test_a_short_row_is_filled_and_a_long_row_is_an_error_of_its_own(tmp_path: Path) -> None:
    source = written(tmp_path / "in.csv", "text,id\nshort\na,b,c\n\ngood,1\n")
    summary = classify(source, tmp_path / "out.csv")
    short, long, good = rows_of(tmp_path / "out.csv")
    assert (short["id"], short["prediction"]) == ("", "NEGATIVE")
    assert long["error"] == "The row has 3 fields and the header 2."
    assert good["prediction"] == "POSITIVE"
    assert summary.tally.errors == 1


def test_a_nul_character_is_left_to_the_classifier(tmp_path: Path) -> None:
    classify(written(tmp_path / "in.csv", "text\na\0b\n"), tmp_path / "out.csv")
    assert rows_of(tmp_path / "out.csv")[0]["text"] == "a\0b"


def test_a_field_of_megabytes_is_read(tmp_path: Path) -> None:
    text = "good " * 500_000
    classify(written(tmp_path / "in.csv", f'text\n"{text}"\n'), tmp_path / "out.csv")
    csv.field_size_limit(10**9)
    assert rows_of(tmp_path / "out.csv")[0]["text"] == text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"is empty; a CSV file begins with its header"),
        ('text,id\ngood,1\n"never,2\n', r"quote in the row at line 3 of .* is never closed"),
        ("id,label\n1,2\n", r"Name it with --column; the columns are: 'id', 'label'"),
        (
            'text\n"' + ("x" * 1_000_000 + "\n") * 18,
            r"row at line 2 of .* field larger than field limit",
        ),
    ],
)
def test_a_file_that_is_not_csv_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        classify(written(tmp_path / "in.csv", text), tmp_path / "out.csv")


def test_an_unknown_column_is_answered_with_the_columns_there_are(tmp_path: Path) -> None:
    source = written(tmp_path / "in.csv", "id,review\n1,good\n")
    with pytest.raises(InputError, match=r"has no column 'txt'; its columns are: 'id', 'review'"):
        classify(source, tmp_path / "out.csv", column="txt")


def test_only_a_header_gives_only_a_header(tmp_path: Path) -> None:
    summary = classify(written(tmp_path / "in.csv", "text\n"), tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "text,prediction,score,truncated,error\n"
    assert (summary.tally.rows, summary.exit_code) == (0, 0)
