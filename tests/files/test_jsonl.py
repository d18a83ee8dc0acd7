"""JSON Lines in and out."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_k8s.errors import InputError

from .fake import classify

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.text().filter(lambda name: name not in ("prediction", "score", "truncated", "error"))


def objects_in(path: Path) -> list[dict[str, object]]:
    # Not splitlines(), which also breaks at U+2028, a legal character in a JSON string.
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def written(folder: Path, *lines: str) -> Path:
    (folder / "in.jsonl").write_text("".join(line + "\n" for line in lines))
    return folder / "in.jsonl"


@settings(deadline=None, max_examples=50)
@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=3), max_size=6), st.booleans())
def test_every_field_comes_out_as_it_went_in(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]], escaped: bool
) -> None:
    folder = tmp_path_factory.mktemp("jsonl")
    rows = [{"text": "good"} | row for row in rows]
    source = folder / "in.jsonl"
    source.write_bytes(
        b"".join(json.dumps(row, ensure_ascii=escaped).encode() + b"\n" for row in rows)
    )
    classify(source, folder / "out.jsonl", chunk_rows=2)
    results = objects_in(folder / "out.jsonl")
    pairs = zip(rows, results, strict=True)
    assert [{name: result[name] for name in row} for row, result in pairs] == rows


def test_an_object_is_kept_digit_by_digit(tmp_path: Path) -> None:
    source = written(tmp_path, '{"text": "good", "n": 0.10000000000000000000001, "big": 1e999 }')
    classify(source, tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == (
        '{"text": "good", "n": 0.10000000000000000000001, "big": 1e999, '
        '"prediction": "POSITIVE", "score": 0.2, "truncated": false}\n'
    )


def test_strings_become_objects_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    classify(written(tmp_path, '"good"', "", '"bad"'), tmp_path / "out.jsonl")
    assert [row["text"] for row in objects_in(tmp_path / "out.jsonl")] == ["good", "bad"]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("{}", "The text is missing."),
        ('{"text": null}', "The text is missing."),
        ('{"text": 5}', "The text is not a string but int."),
        ('{"text": " "}', "The text is empty."),
        (r'{"text": "\ud800"}', "The text has a lone surrogate, which is not Unicode."),
        (r'"\ud800"', "The text has a lone surrogate, which is not Unicode."),
    ],
)
def test_a_row_without_a_text_is_an_error_and_the_rest_goes_on(
    tmp_path: Path, line: str, error: str
) -> None:
    summary = classify(written(tmp_path, '{"text": "good"}', line), tmp_path / "out.jsonl")
    good, bad = objects_in(tmp_path / "out.jsonl")
    assert "error" not in good
    assert (bad["prediction"], bad["score"], bad["error"]) == (None, None, error)
    assert summary.exit_code == 1


def test_a_field_with_a_name_of_ours_is_kept(tmp_path: Path) -> None:
    classify(written(tmp_path, '{"text": "good", "score": 7}'), tmp_path / "out.jsonl")
    (row,) = objects_in(tmp_path / "out.jsonl")
    assert (row["score"], row["score_2"]) == (7, 0.2)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{'text': 1}", r"Line 2 of .* is not JSON"),
        ("7", r"Line 2 of .* is neither a JSON object nor a string"),
        ("[]", r"Line 2 .*jq -c '\.\[\]' makes JSON Lines"),
        ("[" * 100_000, r"Line 2 of .* is not JSON"),
    ],
)
def test_a_line_that_is_not_json_is_a_sentence(tmp_path: Path, line: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        classify(written(tmp_path, '"good"', line), tmp_path / "out.jsonl")


def test_a_mended_line_is_gone_on_with(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        classify(written(tmp_path, '"good"', '"bad'), tmp_path / "out.jsonl", chunk_rows=1)
    summary = classify(written(tmp_path, '"good"', '"bad"'), tmp_path / "out.jsonl", chunk_rows=1)
    assert len(objects_in(tmp_path / "out.jsonl")) == 2
    assert summary.resumed == 1


def test_objects_become_rows_of_csv(tmp_path: Path) -> None:
    lines = '{"text": "good", "tags": ["a"], "n": 1}', '{"text": "bad"}'
    classify(written(tmp_path, *lines), tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines() == [
        "text,tags,n,prediction,score,truncated,error",
        'good,"[""a""]",1,POSITIVE,0.2,false,',
        "bad,,,NEGATIVE,0.25,false,",
    ]


def test_a_field_that_csv_has_no_column_for_is_a_sentence(tmp_path: Path) -> None:
    source = written(tmp_path, '"good"', '{"text": "bad", "new": 1}')
    with pytest.raises(InputError, match=r"the field 'new', which the first row lacks"):
        classify(source, tmp_path / "out.csv")
