"""Plain lines in, prediction, score and text out."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_k8s.errors import InputError

from .fake import classify

LINES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"))


@settings(deadline=None, max_examples=50)
@given(st.lists(LINES.filter(lambda line: not line.startswith("\ufeff")), max_size=8))
def test_every_line_comes_out_as_it_went_in(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("lines")
    (folder / "in.txt").write_bytes("".join(line + "\n" for line in lines).encode())
    classify(folder / "in.txt", folder / "out.txt", chunk_rows=3)
    results = (folder / "out.txt").read_bytes().decode().split("\n")[:-1]
    assert [result.split("\t", 2)[2] for result in results] == lines


def test_a_line_is_prediction_score_and_text(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"\xef\xbb\xbfgood\tday\r\n\r\nbad")
    summary = classify(tmp_path / "in.txt", tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text() == (
        "POSITIVE\t0.5\tgood\tday\n\t\t\nNEGATIVE\t0.25\tbad\n"
    )
    assert summary.first_error == (2, "The text is empty.")


def test_an_empty_file_gives_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "in.txt").touch()
    assert classify(tmp_path / "in.txt", tmp_path / "out.txt").exit_code == 0
    assert (tmp_path / "out.txt").read_bytes() == b""


def test_a_column_of_plain_lines_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("good\n")
    with pytest.raises(InputError, match=r"plain lines, which have no column 'a'.*--format csv"):
        classify(tmp_path / "in.txt", column="a")


def test_a_text_with_a_line_break_stays_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('id,text\n1,"so\ngood"\n')
    classify(tmp_path / "in.csv", tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text() == "NEGATIVE\t1.0\tso good\n"
