import json
import os
import random
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_k8s.errors import RowsRefused, SettingsError, SpoolFull
from sentiment_k8s.metrics import Metrics
from sentiment_k8s.records import PredictionRow
from sentiment_k8s.spool import Spool, open_spool
from sentiment_k8s.spool.spool import CHUNK_BYTES, MOST_ROWS, SEGMENT_BYTES
from sentiment_k8s.testing import example_row

PLENTY = 64 * 1024 * 1024


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def spool(tmp_path: Path, metrics: Metrics) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool", PLENTY, metrics)
    yield spool
    spool.close()


def reopened(spool: Spool) -> Spool:
    """The same folder, as the next process would open it."""
    spool.close()
    return opened(spool)


def opened(spool: Spool) -> Spool:
    Spool.__init__(spool, spool.folder, spool.max_bytes, spool._metrics)
    return spool


def drained(spool: Spool) -> list[str]:
    """The texts of all rows, in order; the spool is empty afterwards."""
    found = []
    while chunk := spool.read():
        found += [json.loads(row)["text"] for row in chunk.rows]
        spool.done(chunk)
    return found


def append(spool: Spool, *texts: str) -> None:
    spool.append([example_row(text) for text in texts])


def segments(spool: Spool) -> list[Path]:
    return sorted(spool.folder.glob("*.spool"))


def set_aside(spool: Spool) -> dict[str, bytes]:
    """By the reason: what a person is to look at."""
    return {path.suffix: path.read_bytes() for path in (spool.folder / "damaged").glob("*")}


def damage(path: Path, place: bytes) -> None:
    """Change the byte where something begins."""
    data = bytearray(path.read_bytes())
    data[data.index(place)] ^= 0x01
    path.write_bytes(data)


def count(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(name)


# In and out


def test_a_row_comes_out_as_it_went_in(spool: Spool) -> None:
    row = example_row("I ❤ AI! \u202e\U0001f600", subject="person-1")
    spool.append([row])
    chunk = spool.read()
    assert chunk
    found = json.loads(chunk.rows[0])
    assert PredictionRow(**found | {"id": row.id, "created_at": row.created_at}) == row
    assert set(found) == set(asdict(row))


def test_rows_come_out_in_order_also_for_the_next_process(spool: Spool) -> None:
    append(spool, "one", "two")
    append(spool, "three")
    reopened(spool)
    append(spool, "four")
    assert spool.rows == 4
    assert drained(spool) == ["one", "two", "three", "four"]
    assert (spool.rows, spool.size, spool.oldest) == (0, 0, None)
    assert not segments(spool)


def test_what_is_not_done_is_read_again(spool: Spool) -> None:
    append(spool, "one")
    assert spool.read() == spool.read()
    assert drained(spool) == ["one"]


def test_a_drain_that_a_crash_ends_begins_anew(spool: Spool) -> None:
    append(spool, *map(str, range(MOST_ROWS + 1)))
    chunk = spool.read()
    assert chunk
    spool.done(chunk)
    assert spool.rows == 1
    reopened(spool)
    assert spool.rows == MOST_ROWS + 1
    assert len(drained(spool)) == MOST_ROWS + 1


def test_rows_may_be_appended_to_a_segment_that_is_being_drained(spool: Spool) -> None:
    append(spool, "one")
    chunk = spool.read()
    append(spool, "two")
    assert chunk
    spool.done(chunk)
    assert len(segments(spool)) == 1
    assert drained(spool) == ["two"]
    append(spool, "three")
    assert drained(spool) == ["three"]


def test_chunks_are_bounded_in_rows_and_bytes(spool: Spool) -> None:
    append(spool, *(["short"] * (2 * MOST_ROWS)))
    append(spool, *(["x" * 300_000] * 10))
    sizes = []
    while chunk := spool.read():
        sizes.append(len(chunk.rows))
        assert sum(map(len, chunk.rows)) < CHUNK_BYTES + 400_000
        spool.done(chunk)
    assert sizes == [MOST_ROWS, MOST_ROWS, 4, 4, 2]


def test_a_row_larger_than_a_chunk_is_one(spool: Spool) -> None:
    append(spool, "x" * (3 * CHUNK_BYTES))
    append(spool, "y")
    assert [text[0] for text in drained(spool)] == ["x", "y"]


def test_segments_are_bounded_and_go_one_by_one(spool: Spool) -> None:
    for _ in range(20):
        append(spool, "x" * 1_000_000)
    assert [path.stat().st_size // SEGMENT_BYTES for path in segments(spool)] == [1, 1, 0]
    left = []
    while chunk := spool.read():
        spool.done(chunk)
        left.append(len(segments(spool)))
    assert sorted(left, reverse=True) == left
    assert set(left) == {3, 2, 1, 0}


def test_the_oldest_row_tells_its_time(spool: Spool) -> None:
    first = example_row("first")
    spool.append([first])
    append(spool, "second")
    assert spool.oldest == first.created_at
    assert reopened(spool).oldest == first.created_at


def test_people_other_than_the_owner_read_nothing(spool: Spool) -> None:
    append(spool, "private")
    assert stat.S_IMODE(spool.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(segments(spool)[0].stat().st_mode) == 0o600


def test_a_row_that_is_no_unicode_is_refused_and_its_neighbours_are_kept(spool: Spool) -> None:
    bad = example_row("a\ud800b")
    with pytest.raises(RowsRefused) as raised:
        spool.append([example_row("one"), bad, example_row("two")])
    assert set(raised.value.refused) == {bad.id}
    assert spool.rows == 2
    assert drained(spool) == ["one", "two"]


# Torn and damaged


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.integers(0, 10_000))
def test_cut_anywhere_in_its_last_write_the_spool_has_all_writes_before(
    groups: list[int], chosen: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        metrics = Metrics()
        spool = Spool(Path(folder), PLENTY, metrics)
        durable = []
        for number, size in enumerate(groups):
            durable.append(spool.size)
            append(spool, *[f"{number} {place}" for place in range(size)])
        [segment] = segments(spool)
        # A row's time has more or fewer digits, so the size is not the same each time.
        cut = durable[-1] + chosen % (spool.size - durable[-1])
        spool.close()
        os.truncate(segment, cut)
        spool = Spool(Path(folder), PLENTY, metrics)
        texts = [f"{n} {place}" for n, size in enumerate(groups) for place in range(size)]
        found = drained(spool)
        assert texts[: sum(groups[:-1])] == found[: sum(groups[:-1])]
        assert found == texts[: len(found)]
        assert spool.damaged_records == 0
        spool.close()


def test_a_torn_write_is_cut_off_and_counted(spool: Spool, metrics: Metrics) -> None:
    append(spool, "kept")
    append(spool, "torn")
    [segment] = segments(spool)
    durable = spool.size // 2
    os.truncate(segment, 2 * durable - 10)
    reopened(spool)
    assert segment.stat().st_size == durable
    assert count(metrics, "sentiment_spool_torn_bytes_total") == durable - 10
    assert count(metrics, "sentiment_spool_damaged_records_total") == 0
    append(spool, "next")
    assert drained(spool) == ["kept", "next"]


def test_a_spool_that_is_torn_at_its_first_write_is_empty(spool: Spool) -> None:
    append(spool, "torn")
    os.truncate(segments(spool)[0], 10)
    assert drained(reopened(spool)) == []
    assert not segments(spool)


@pytest.mark.parametrize("which", ["one", "two", "three"])
def test_a_damaged_record_is_set_aside_once_and_its_neighbours_are_kept(
    spool: Spool, metrics: Metrics, caplog: pytest.LogCaptureFixture, which: str
) -> None:
    append(spool, "one", "two", "three")
    damage(segments(spool)[0], which.encode())
    for _ in range(2):
        reopened(spool)
        assert (spool.rows, spool.damaged_records) == (2, 1)
    assert drained(spool) == [text for text in ("one", "two", "three") if text != which]
    assert count(metrics, "sentiment_spool_damaged_records_total") == 1
    assert which[1:].encode() in set_aside(spool)[".damaged"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert which not in caplog.messages[0]
    assert reopened(spool).damaged_records == 1


def test_damage_at_the_end_of_an_older_segment_is_not_a_torn_write(
    spool: Spool, metrics: Metrics
) -> None:
    append(spool, "one", "two")
    older = segments(spool)[0]
    reopened(spool)
    append(spool, "three")
    os.truncate(older, older.stat().st_size - 1)
    assert drained(reopened(spool)) == ["one", "three"]
    assert spool.damaged_records == 1
    assert count(metrics, "sentiment_spool_torn_bytes_total") == 0


def test_damage_that_comes_while_the_spool_is_open_is_set_aside(spool: Spool) -> None:
    append(spool, "one", "two", "three")
    damage(segments(spool)[0], b"two")
    assert drained(spool) == ["one", "three"]
    assert spool.damaged_records == 1


def test_damage_larger_than_what_is_read_at_once_costs_no_row_behind_it(spool: Spool) -> None:
    append(spool, "one", "x" * (3 * CHUNK_BYTES), "two")
    append(spool, *(["y" * CHUNK_BYTES] * 2))
    damage(segments(spool)[0], b"xxx")
    assert [text[:3] for text in drained(spool)] == ["one", "two", "yyy", "yyy"]
    assert spool.damaged_records == 1


def test_a_segment_of_nothing_but_damage_leaves_it_to_a_person(spool: Spool) -> None:
    append(spool, "one")
    segment = segments(spool)[0]
    segment.write_bytes(b"\1" * 100)
    assert drained(reopened(spool)) == []
    assert not segment.exists()
    assert set_aside(spool) == {".damaged": b"\1" * 100}


def test_rows_that_postgresql_refuses_are_set_aside(spool: Spool, metrics: Metrics) -> None:
    append(spool, "fine", "refused", "fine too")
    chunk = spool.read()
    assert chunk
    spool.done(chunk, {1: "DataError"})
    assert b'"refused"' in set_aside(spool)[".refused"]
    assert (spool.rows, spool.damaged_records) == (0, 1)
    assert count(metrics, "sentiment_spool_damaged_records_total") == 1


# Files that somebody takes away, or that stay


def test_no_row_goes_to_a_segment_that_was_removed(spool: Spool, metrics: Metrics) -> None:
    append(spool, "lost")
    segments(spool)[0].unlink()
    append(spool, "kept")
    assert drained(spool) == ["kept"]
    assert count(metrics, "sentiment_spool_damaged_records_total") == 1


def test_a_drained_segment_that_cannot_be_removed_does_not_stop_the_others(spool: Spool) -> None:
    append(spool, "one")
    [segment] = segments(spool)
    chunk = spool.read()
    assert chunk
    segment.rename(segment.with_suffix(".moved"))
    segment.mkdir()
    spool.done(chunk)
    append(spool, "two")
    assert drained(spool) == ["two"]


# Limits of the disk


def test_a_full_spool_takes_no_row_and_some_again_when_it_is_drained(
    tmp_path: Path, metrics: Metrics
) -> None:
    spool = Spool(tmp_path, 1000, metrics)
    append(spool, "one")
    with pytest.raises(SpoolFull, match="the spool is full") as raised:
        append(spool, "two", "three", "four")
    assert (raised.value.status, raised.value.retry_after) == (503, 5)
    assert not spool.writable
    assert spool.rows == 1
    append(spool, "two")
    assert spool.writable
    assert drained(spool) == ["one", "two"]
    append(spool, "three")
    assert drained(spool) == ["three"]
    spool.close()


def test_what_was_set_aside_takes_room_too(tmp_path: Path, metrics: Metrics) -> None:
    spool = Spool(tmp_path, 1000, metrics)
    append(spool, "x" * 300)
    chunk = spool.read()
    assert chunk
    spool.done(chunk, {0: "DataError"})
    with pytest.raises(SpoolFull):
        append(spool, "x" * 300)
    spool.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_gets_full_loses_nothing_that_was_acknowledged(
    small_disk: Path, metrics: Metrics
) -> None:
    spool = Spool(small_disk / "spool", PLENTY, metrics)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(500_000))
    kept: list[str] = []
    with suppress(OSError):
        while True:
            append(spool, *[f"{len(kept)} {'x' * 9_000}"] * 3)
            kept += [str(len(kept))] * 3
    assert (spool.writable, spool.rows) == (False, len(kept))
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            append(spool, "y" * 100_000)
    filler.unlink()
    append(spool, "after")
    assert spool.writable
    reopened(spool)
    assert [text.split()[0] for text in drained(spool)] == [*kept, "after"]
    assert spool.damaged_records == 0
    assert count(metrics, "sentiment_spool_torn_bytes_total") == 0
    spool.close()


# One process at a time


def test_a_second_process_is_refused_in_one_sentence(spool: Spool, metrics: Metrics) -> None:
    with pytest.raises(SettingsError) as raised:
        open_spool(spool.folder, PLENTY, metrics)
    assert f"process {os.getpid()}" in raised.value.message
    assert "SENTIMENT_SPOOL_DIR" in raised.value.message
    append(spool, "the first goes on")


def test_a_folder_that_cannot_be_used_is_one_sentence(tmp_path: Path, metrics: Metrics) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"cannot be used \(Not a directory\)"):
        open_spool(tmp_path / "file" / "spool", PLENTY, metrics)


def test_an_empty_spool_can_be_removed_and_one_with_something_in_it_stays(
    spool: Spool,
) -> None:
    append(spool, "one")
    spool.remove()
    assert drained(opened(spool)) == ["one"]
    spool.remove()
    assert not spool.folder.exists()
    opened(spool)


WRITER = """
import sys
from pathlib import Path
from sentiment_k8s.metrics import Metrics
from sentiment_k8s.spool import Spool
from sentiment_k8s.testing import example_row

spool = Spool(Path(sys.argv[1]), 2**30, Metrics())
while True:
    rows = [example_row("x" * 3000) for _ in range(5)]
    spool.append(rows)
    print(*(row.id for row in rows), flush=True)
"""


def test_what_a_killed_process_acknowledged_is_there(tmp_path: Path, metrics: Metrics) -> None:
    acknowledged: list[str] = []
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        for _ in range(random.randrange(1, 40)):
            acknowledged += process.stdout.readline().split()
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.read().split()
        process.wait()
        process.stdout.close()
    spool = Spool(tmp_path, PLENTY, metrics)
    found = []
    while chunk := spool.read():
        found += [json.loads(row)["id"] for row in chunk.rows]
        spool.done(chunk)
    assert len(acknowledged) > 25
    assert set(acknowledged) <= set(found)
    assert len(found) == len(set(found))
    assert spool.damaged_records == 0
    spool.close()
