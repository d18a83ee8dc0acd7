"""Lines, positions and what is wrong with an input."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_k8s.errors import InputError
from sentiment_k8s.files.source import MAX_LINE_BYTES, Source

from .fake import as_nobody, classify


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    (tmp_path / "in.txt").write_bytes(b"\xef\xbb\xbfone\ntwo\nthree")
    with closing(Source(str(tmp_path / "in.txt"))) as opened:
        yield opened


def test_lines_come_with_their_breaks_and_the_end_is_empty(source: Source) -> None:
    assert [source.line() for _ in range(4)] == ["one\n", "two\n", "three", ""]
    assert source.lines == 3


def test_a_peek_leaves_the_line(source: Source) -> None:
    assert source.peek() == source.line() == "one\n"


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1), st.data())
def test_a_position_is_found_again(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("source") / "in.txt"
    path.write_bytes("\n".join(texts).encode())
    with closing(Source(str(path))) as first, closing(Source(str(path))) as second:
        for _ in range(data.draw(st.integers(0, len(texts)))):
            first.line()
        second.skip_to(first.position())
        assert second.position() == first.position()
        assert second.line() == first.line()


def test_an_input_that_changed_before_the_position_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_text("one\ntwo\n")
    with closing(Source(str(path))) as first:
        first.line()
        position = first.position()
    path.write_text("ONE\ntwo\n")
    with (
        closing(Source(str(path))) as second,
        pytest.raises(InputError, match=r"already classified has changed.*--restart"),
    ):
        second.skip_to(position)


def test_a_byte_that_is_not_utf8_is_a_sentence_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"good\n" * 6 + b"caf\xe9\n" + b"good\n")
    with pytest.raises(InputError, match=r"Line 7 of .* is not UTF-8: byte 0xe9 after 3 good"):
        classify(tmp_path / "in.txt", tmp_path / "out.txt")


def test_utf16_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes("text\ngood\n".encode("utf-16"))
    with pytest.raises(InputError, match=r"Line 1 of .* is not UTF-8: byte 0xff"):
        classify(tmp_path / "in.csv", tmp_path / "out.csv")


def test_a_line_without_end_is_a_sentence(tmp_path: Path) -> None:
    with (tmp_path / "in.txt").open("wb") as file:
        file.truncate(MAX_LINE_BYTES * 4)
    with pytest.raises(InputError, match=r"Line 1 of .* is longer than 16 MiB"):
        classify(tmp_path / "in.txt", tmp_path / "out.txt")


def test_a_folder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Cannot read .*: Is a directory"):
        classify(tmp_path, tmp_path / "out.txt", format="lines")


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Cannot read .*gone.txt': No such file"):
        classify(tmp_path / "gone.txt", tmp_path / "out.txt")


def test_a_file_that_may_not_be_read_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.touch(mode=0)
    with (
        as_nobody(),
        pytest.raises(InputError, match=r"Cannot read .*: Permission denied"),
    ):
        Source(str(path))


def test_a_chunk_does_not_wait_for_a_producer_that_pauses() -> None:
    read, write = os.pipe()
    os.write(write, b"one\ntwo\n")
    with closing(Source(f"/dev/fd/{read}")) as source:

        def lines() -> Iterator[str]:
            while line := source.line():
                yield line

        assert next(source.chunks_of(lines(), 100)) == ["one\n", "two\n"]
    os.close(read)
    os.close(write)
