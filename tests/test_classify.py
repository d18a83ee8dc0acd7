"""`sentiment classify` without its command line: order, flow, exit codes, streams."""

import asyncio
import io
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from sentiment_k8s.classify import (
    Job,
    Outcome,
    ProgressBar,
    Summary,
    classify_files,
    open_files,
    run,
)
from sentiment_k8s.errors import InputError
from sentiment_k8s.files.output import Tally

from .files.fake import by_length, classify, work

PROGRAM = [sys.executable, "-m", "tests.files.fake"]


def lines(folder: Path, count: int) -> Path:
    path = folder / "in.txt"
    path.write_text("".join(f"text {number}\n" for number in range(count)))
    return path


async def test_chunks_that_finish_out_of_order_are_written_in_order(tmp_path: Path) -> None:
    waiting: list[asyncio.Event] = []

    async def backwards(texts: Sequence[str]) -> list[Outcome]:
        """Each of four calls ends after the one that began after it."""
        waiting.append(asyncio.Event())
        number = len(waiting)
        if number < 4:
            await waiting[number - 1].wait()
        if number > 1:
            waiting[number - 2].set()
        return await by_length(texts)

    job = Job(str(lines(tmp_path, 8)), str(tmp_path / "out.txt"), chunk_rows=2, chunks_in_flight=4)
    with open_files(job) as files:
        await classify_files(files, backwards)
    texts = [line.split("\t")[2] for line in (tmp_path / "out.txt").read_text().splitlines()]
    assert texts == [f"text {number}" for number in range(8)]


async def test_no_more_chunks_are_in_flight_than_asked_for(tmp_path: Path) -> None:
    now = most = 0

    async def counting(texts: Sequence[str]) -> list[Outcome]:
        nonlocal now, most
        now += 1
        most = max(most, now)
        outcomes = await by_length(texts)
        now -= 1
        return outcomes

    job = Job(str(lines(tmp_path, 50)), os.devnull, chunk_rows=2, chunks_in_flight=3)
    with open_files(job) as files:
        await classify_files(files, counting)
    assert most <= 3


async def test_the_classifier_sees_only_rows_that_have_a_text(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("good\n\n \nbad\n")
    seen: list[str] = []

    async def seeing(texts: Sequence[str]) -> list[Outcome]:
        seen.extend(texts)
        return await by_length(texts)

    with open_files(Job(str(tmp_path / "in.txt"), os.devnull)) as files:
        summary = await classify_files(files, seeing)
    assert seen == ["good", "bad"]
    assert (summary.tally.rows, summary.tally.errors) == (4, 2)


async def test_what_was_read_before_a_fault_is_written_before_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"good\nbad\n\xff\n")
    out = io.BytesIO()
    with (
        pytest.raises(InputError, match="Line 3"),
        open_files(Job(str(tmp_path / "in.txt"), chunk_rows=1), out) as files,
    ):
        await classify_files(files, by_length)
    assert out.getvalue() == b"POSITIVE\t0.2\tgood\nNEGATIVE\t0.25\tbad\n"


async def test_progress_is_told_after_each_chunk(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    source = lines(tmp_path, 5)
    with open_files(Job(str(source), os.devnull, chunk_rows=2)) as files:
        await classify_files(files, by_length, lambda at, tally: told.append((at.rows, tally.rows)))
        assert files.reader.size == source.stat().st_size
    assert told == [(2, 2), (4, 4), (5, 5)]


async def test_the_bar_shows_rows_rate_and_time_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        open_files(Job(str(lines(tmp_path, 5)), os.devnull)) as files,
        ProgressBar(files, shown=True) as bar,
    ):
        await classify_files(files, by_length, bar)
    last = capsys.readouterr().err.split("\r")[-1]
    assert last.startswith("100%|")
    assert "5 rows, " in last
    assert "left" in last


async def test_no_bar_is_shown_where_nobody_watches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        open_files(Job(str(lines(tmp_path, 5)), os.devnull)) as files,
        ProgressBar(files) as bar,
    ):
        await classify_files(files, by_length, bar)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("good\n", 0, ["1 row in "]),
        ("good\n\n", 1, ["2 rows in ", "1 row could not be", "The first is row 2: The text is"]),
        ("x" * 41, 0, ["1 row in ", "1 text longer than the model takes: cut."]),
    ],
)
def test_the_exit_code_says_whether_every_row_was_classified(
    tmp_path: Path, text: str, code: int, said: list[str]
) -> None:
    (tmp_path / "in.txt").write_text(text)
    job = Job(str(tmp_path / "in.txt"), str(tmp_path / "out.txt"))
    sentences: list[str] = []
    assert run(work(job), job, sentences.append, quiet=False) == code
    assert [sentence[: len(start)] for sentence, start in zip(sentences, said, strict=True)] == said


def test_a_quiet_run_tells_only_of_errors(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("good\n\n")
    job = Job(str(tmp_path / "in.txt"), str(tmp_path / "out.txt"))
    sentences: list[str] = []
    run(work(job), job, sentences.append, quiet=True)
    assert sentences == [
        "1 row could not be classified.",
        "The first is row 2: The text is empty.",
    ]


def test_a_summary_counts_the_rows_of_earlier_runs_apart() -> None:
    summary = Summary(Tally(rows=1_500), resumed=500, seconds=2.0, first_error=None)
    assert list(summary.sentences()) == ["1,000 rows in 2.0 s (500 a second, 500 before)."]


def test_ctrl_c_ends_with_130_and_a_later_run_goes_on(tmp_path: Path) -> None:
    source, output = lines(tmp_path, 200), tmp_path / "out.txt"
    with subprocess.Popen(
        [*PROGRAM, str(source), str(output), "auto", "paced"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(b".")
        process.stdin.flush()
        assert process.stderr.readline() == b"50\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"Stopped. Run the same command again to go on.\n"
    assert process.returncode == 130
    assert classify(source, output, chunk_rows=50).resumed == 50


def test_ctrl_c_at_a_terminal_that_says_nothing_ends_at_once() -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, "-", "-", "lines"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        os.write(ours, b"good\n")
        # The answer comes while standard input is still open.
        assert process.stdout.readline() == "POSITIVE\t0.2\tgood\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        assert process.stderr.read().endswith("Stopped.\n")
    os.close(ours)
    os.close(theirs)


def test_a_reader_that_leaves_ends_the_run_quietly(tmp_path: Path) -> None:
    command = [*PROGRAM, str(lines(tmp_path, 20_000)), "-", "auto"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 141
    assert all(line.isdigit() for line in said.splitlines())


def test_standard_input_goes_to_standard_output() -> None:
    done = subprocess.run(
        [*PROGRAM, "-", "-", "csv"],
        input="id,text\n1,good\n",
        capture_output=True,
        text=True,
    )
    assert done.stdout == "id,text,prediction,score,truncated,error\n1,good,POSITIVE,0.2,false,\n"
    assert done.returncode == 0
