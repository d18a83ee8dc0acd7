"""Where the bytes go, and how a run that was stopped or killed goes on."""

import fcntl
import json
import os
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sentiment_k8s.errors import InputError

from .fake import as_nobody, classify, stop_after

ROWS = 3_000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    rows = [f'{number},"text, {"!" * (number % 60)}\n"\n' for number in range(ROWS)]
    path.write_text("id,text\n" + "".join(rows))
    return path


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.csv"


def beside(output: Path) -> list[str]:
    return sorted(path.name for path in output.parent.glob(output.name + "?*"))


def test_a_finished_run_leaves_the_output_and_nothing_else(source: Path, output: Path) -> None:
    classify(source, output)
    assert output.exists()
    assert beside(output) == []


def test_a_stopped_run_shows_no_output_under_its_name(source: Path, output: Path) -> None:
    stop_after(3, source, output)
    assert not output.exists()
    assert beside(output) == ["out.csv.partial", "out.csv.partial.json"]


def test_a_stopped_run_goes_on_where_it_was(source: Path, output: Path, tmp_path: Path) -> None:
    whole = classify(source, tmp_path / "whole.csv")
    stop_after(3, source, output)
    summary = classify(source, output)
    assert summary.resumed == 3 * 512
    assert summary.tally == whole.tally
    assert output.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_what_was_torn_by_a_kill_is_cut_off(source: Path, output: Path, tmp_path: Path) -> None:
    classify(source, tmp_path / "whole.csv")
    stop_after(3, source, output)
    with (tmp_path / "out.csv.partial").open("ab") as partial:
        partial.write(b'1536,"torn')
    classify(source, output)
    assert output.read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "txt", "parquet"])
def test_a_run_that_is_killed_again_and_again_gives_the_same_file(
    source: Path, tmp_path: Path, suffix: str
) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    whole, output = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    classify(source, whole, chunk_rows=50)
    for _ in range(3):
        kill_in_the_middle(source, output)
    assert classify(source, output, chunk_rows=50).resumed > 0
    assert output.read_bytes() == whole.read_bytes()


def kill_in_the_middle(source: Path, output: Path) -> None:
    """Lets the program do some chunks and kills it while it is somewhere among them."""
    command = [sys.executable, "-m", "tests.files.fake", str(source), str(output), "auto", "paced"]
    allowed = random.randint(2, 15)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(b"." * allowed)
        process.stdin.flush()
        for _ in range(random.randint(1, allowed - 1)):
            process.stderr.readline()
        process.kill()
    assert process.returncode == -signal.SIGKILL


def test_a_full_disk_is_a_sentence_and_the_run_goes_on_when_there_is_room(
    source: Path, output: Path, tmp_path: Path
) -> None:
    classify(source, tmp_path / "whole.csv")
    room = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A limit on a file's size meets the program as a full disk does: in the middle of a write.
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, room[1]))
    try:
        with pytest.raises(InputError, match=r"Cannot write .*out.csv': File too large. .*go on"):
            classify(source, output, chunk_rows=100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, room)
    summary = classify(source, output, chunk_rows=100)
    assert summary.resumed > 0
    assert output.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_device_that_is_full_is_a_sentence(source: Path) -> None:
    with pytest.raises(InputError, match=r"Cannot write '/dev/full': No space left on device"):
        classify(source, "/dev/full")


def test_a_device_is_written_as_it_is(source: Path) -> None:
    assert classify(source, os.devnull).tally.rows == ROWS


def test_an_output_that_exists_is_replaced_only_on_request(source: Path, output: Path) -> None:
    output.write_text("precious")
    with pytest.raises(InputError, match=r"out.csv' exists; --restart"):
        classify(source, output)
    assert output.read_text() == "precious"
    classify(source, output, restart=True)
    assert output.read_text().startswith("id,text,prediction")


def test_restart_begins_anew(source: Path, output: Path) -> None:
    stop_after(3, source, output)
    assert classify(source, output, restart=True, chunk_rows=100).resumed == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"model": "b"}, r"begun with another model \('a', now 'b'\)"),
        ({"model": "a", "column": "id"}, r"begun with another column \('text', now 'id'\)"),
        ({"model": "a", "chunk_rows": 9}, r"begun with another chunk size"),
    ],
)
def test_a_run_with_other_options_does_not_go_on(
    source: Path, output: Path, options: dict[str, object], sentence: str
) -> None:
    stop_after(3, source, output, model="a")
    with pytest.raises(InputError, match=sentence):
        classify(source, output, **options)


def test_an_input_that_changed_does_not_go_on(source: Path, output: Path) -> None:
    stop_after(3, source, output)
    source.write_text(source.read_text().replace("5,", "6,", 1))
    with pytest.raises(InputError, match=r"has changed since"):
        classify(source, output)


def test_rows_that_were_appended_since_are_classified_too(source: Path, output: Path) -> None:
    stop_after(3, source, output)
    with source.open("a") as file:
        file.write("3000,one more\n")
    assert classify(source, output).tally.rows == ROWS + 1


@pytest.mark.parametrize("side", ["", "[]", "{}", json.dumps({"job": {}, "size": 10**9})])
def test_a_side_file_that_is_not_ours_is_a_sentence(source: Path, output: Path, side: str) -> None:
    stop_after(3, source, output)
    (output.parent / "out.csv.partial.json").write_text(side)
    with pytest.raises(InputError, match=r"is not what an earlier run left; --restart"):
        classify(source, output)


def test_two_runs_do_not_write_one_output(source: Path, output: Path) -> None:
    stop_after(3, source, output)
    with (output.parent / "out.csv.partial").open("r+b") as partial:
        fcntl.flock(partial, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"Another process is writing .*out.csv'"):
            classify(source, output)


def test_the_input_is_not_its_own_output(source: Path) -> None:
    with pytest.raises(InputError, match=r"is the input"):
        classify(source, source)


def test_a_folder_that_is_not_there_is_a_sentence(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Cannot write .*gone/out.csv': No such file"):
        classify(source, tmp_path / "gone" / "out.csv")


def test_a_folder_is_a_sentence(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is a folder; name a file in it"):
        classify(source, tmp_path)


def test_a_folder_that_may_not_be_written_is_a_sentence(source: Path, tmp_path: Path) -> None:
    source.chmod(0o444)
    tmp_path.chmod(0o555)
    with (
        source.open() as readable,
        as_nobody(),
        pytest.raises(InputError, match=r"Cannot write .*: Permission denied"),
    ):
        classify(f"/dev/fd/{readable.fileno()}", tmp_path / "out.csv", format="csv")
