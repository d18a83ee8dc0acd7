"""Rows on local disk, in order: appended, read in chunks from the oldest, dropped when drained.

In its folder:

    lock                      held by the process that uses it
    0000000000000001.spool    a segment: records (see `format`) of some groups of rows
    damaged/                  what could not be read, and rows that PostgreSQL refused, for a person

Nothing notes how far the drain has come: a segment is deleted when all of it is in PostgreSQL, and
what a crash leaves is drained again from its start, where rows that are there already stay as they
are. So there is no second file that could disagree with the first.
"""

import json
import logging
import os
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID
from zlib import crc32

from pydantic_core import PydanticSerializationError, to_json

from ..errors import RowsRefused, SettingsError, SpoolFull, SpoolInUse
from ..metrics import Metrics
from ..records import PredictionRow
from .folder import (
    FolderInUse,
    FolderLock,
    make_folder,
    read_at,
    sync,
    sync_folder,
    write_all,
    write_file,
)
from .format import MARKER, encode, is_torn, parts, payload_of

logger = logging.getLogger(__name__)

SEGMENT_BYTES = 8 * 1024 * 1024  # after which the next group begins another one
MOST_ROWS = 500  # in a chunk
CHUNK_BYTES = 1024 * 1024
NAME = re.compile(r"[0-9]{16}\.spool")


@dataclass(slots=True)
class Segment:
    """A file of records. `size` bytes of it are on disk for certain; `position` says how many of
    these are drained, `rows` how many rows are not, `oldest` when the first of them was made (or
    the one before it)."""

    path: Path
    size: int = 0
    position: int = 0
    rows: int = 0
    oldest: datetime | None = None


class Chunk(NamedTuple):
    """The oldest rows: a JSON object each, with the columns' names. They end at `end`."""

    segment: Segment
    end: int
    rows: list[bytes]


class Spool:
    """The rows in a folder. Its methods block, and one thread at a time may call them.

    Args:
        folder: made if it is not there.
        max_bytes: most bytes in it; then `append` refuses.
        metrics: where damage and what was cut off are counted.

    Attributes:
        folder: as given.
        max_bytes: as given.
        damaged_records: records that lie in `damaged/`, at least.
        writable: whether the last attempt to append succeeded, or could now.

    Raises:
        FolderInUse: another process uses it.
        OSError: it cannot be used.
    """

    def __init__(self, folder: Path, max_bytes: int, metrics: Metrics) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.damaged_records = 0
        self.writable = True
        self._metrics = metrics
        self._aside = folder / "damaged"
        self._aside_bytes = 0
        self._segments: list[Segment] = []
        self._fd: int | None = None  # of the last segment, while rows are appended to it
        self._number = 0  # of the last segment
        make_folder(folder)
        self._lock = FolderLock(folder)
        try:
            self._recover()
        except BaseException:
            self._lock.close()
            raise

    @property
    def rows(self) -> int:
        """Rows that are not drained."""
        return sum(segment.rows for segment in self._segments)

    @property
    def size(self) -> int:
        """Bytes of the segments, on disk for certain."""
        return sum(segment.size for segment in self._segments)

    @property
    def oldest(self) -> datetime | None:
        """When the oldest row was made, in UTC."""
        return next((segment.oldest for segment in self._segments), None)

    def append(self, rows: Sequence[PredictionRow]) -> None:
        """Return once all rows are on disk.

        Raises:
            SpoolFull: there is no room for all of them; none is kept.
            OSError: the disk failed; none may be claimed.
            RowsRefused: all are kept but those that it names.
        """
        data, refused = _encoded(rows)
        self.writable = False
        if self.size + self._aside_bytes + len(data) > self.max_bytes:
            raise SpoolFull("PostgreSQL is away and the spool is full: retry later.", retry_after=5)
        try:
            fd = self._open_segment()
            write_all(fd, data)
            sync(fd)
        except OSError:
            self._abandon_segment()
            raise
        segment = self._segments[-1]
        segment.size += len(data)
        segment.rows += len(rows) - len(refused)
        segment.oldest = segment.oldest or rows[0].created_at
        self.writable = True
        if refused:
            raise RowsRefused(refused)

    def read(self, most_rows: int = MOST_ROWS) -> Chunk | None:
        """The oldest rows, at least one; None when there are none. The same again until `done`.

        Args:
            most_rows: in the chunk.

        Raises:
            OSError: the disk failed.
        """
        while self._segments:
            segment = self._segments[0]
            try:
                if chunk := self._read(segment, most_rows):
                    return chunk
            except FileNotFoundError:
                logger.error("%d rows are lost: %s was removed.", segment.rows, segment.path)
                self._metrics.spool_damaged_records.inc(segment.rows)
            self._drop(segment)
        return None

    def done(self, chunk: Chunk, refused: Collection[int] = ()) -> None:
        """These rows are in PostgreSQL now; the segment goes when they were its last.

        Args:
            chunk: from `read`.
            refused: places of those that PostgreSQL cannot hold, which are set aside.

        Raises:
            OSError: the disk failed; the chunk counts as not done, and to insert it again is right.
        """
        segment = chunk.segment
        for place in sorted(refused):
            self._set_aside(segment, segment.position, encode(chunk.rows[place]), "refused")
        segment.oldest = created_at(chunk.rows[-1])
        segment.position = chunk.end
        segment.rows -= len(chunk.rows)
        if segment.position >= segment.size:
            self._drop(segment)

    def close(self) -> None:
        """Let go of the folder; the rows stay."""
        self._close_segment()
        self._lock.close()

    def remove(self) -> None:
        """Remove the folder if nothing is left in it, and let go of it."""
        with suppress(OSError):
            if not self._segments and not self.damaged_records:
                with suppress(FileNotFoundError):
                    self._aside.rmdir()
                self._lock.remove()
                self.folder.rmdir()
        self.close()

    def _recover(self) -> None:
        for path in self._aside.glob("*"):
            if path.suffix != ".new":  # half a file, which is made again
                self._note_set_aside(path.read_bytes())
        paths = segments_in(self.folder)
        for path in paths:
            self._number = int(path.stem)
            self._open(path, newest=path is paths[-1])

    def _open(self, path: Path, *, newest: bool) -> None:
        segment = Segment(path)
        data = content_of(path)
        for part in parts(data):
            if part.intact:
                segment.rows += 1
                segment.oldest = segment.oldest or created_at(payload_of(data, part))
            elif newest and part.end == len(data) and is_torn(data[part.start :]):
                self._cut(path, part.start, part.end)
                break
            else:
                self._set_aside(segment, part.start, data[part.start : part.end], "damaged")
            segment.size = part.end
        if segment.rows:
            self._segments.append(segment)
        else:
            path.unlink()

    def _cut(self, path: Path, size: int, found: int) -> None:
        """Cut off a write that was never acknowledged."""
        os.truncate(path, size)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        self._metrics.spool_torn_bytes.inc(found - size)
        logger.warning("%d bytes of a write that had not ended are cut off %s.", found - size, path)

    def _open_segment(self) -> int:
        if self._fd is not None and self._segments[-1].size < SEGMENT_BYTES:
            removed = not os.fstat(self._fd).st_nlink  # what is written there goes nowhere
            if not removed:
                return self._fd
        self._close_segment()
        self._number += 1
        path = self.folder / f"{self._number:016d}.spool"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)
        self._segments.append(Segment(path))
        sync_folder(self.folder)
        return self._fd

    def _abandon_segment(self) -> None:
        """After a failed write or sync nothing tells what of it is on disk, and a second sync may
        claim success (https://lwn.net/Articles/752063/): back to what was, and no more of it."""
        if self._fd is None:
            return
        segment = self._segments[-1]
        with suppress(OSError):
            os.ftruncate(self._fd, segment.size)
        self._close_segment()
        if not segment.size:
            self._segments.pop()
            with suppress(OSError):
                segment.path.unlink()

    def _close_segment(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):
                os.close(fd)

    def _drop(self, segment: Segment) -> None:
        if segment is self._segments[-1]:
            self._close_segment()
        self._segments.remove(segment)
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:  # the next start drains it again, which does no harm
            logger.error("%s is drained but stays: %s", segment.path, error.strerror)
        else:
            self.writable = True  # there is room again

    def _read(self, segment: Segment, most_rows: int) -> Chunk | None:
        left = segment.size - segment.position
        if not left:
            return None
        if left > 2 * CHUNK_BYTES and (chunk := self._take(segment, 2 * CHUNK_BYTES, most_rows)):
            return chunk
        return self._take(segment, left, most_rows)  # a row, or damage, may have more bytes

    def _take(self, segment: Segment, size: int, most_rows: int) -> Chunk | None:
        data = content_of(segment.path, segment.position, size)
        whole = segment.position + size == segment.size
        rows: list[bytes] = []
        taken = 0
        for part in parts(data):
            if len(rows) == most_rows or (rows and taken > CHUNK_BYTES):
                break
            if part.intact:
                rows.append(payload_of(data, part))
            elif part.end < len(data) or whole:
                where = segment.position + part.start
                self._set_aside(segment, where, data[part.start : part.end], "damaged")
            else:
                break  # it goes on behind what was read
            taken = part.end
        return Chunk(segment, segment.position + taken, rows) if rows else None

    def _set_aside(self, segment: Segment, where: int, data: bytes, why: str) -> None:
        """Keep bytes for a person to look at, once: a segment is read again after a crash."""
        path = self._aside / f"{segment.path.stem}-{where}-{crc32(data):08x}.{why}"
        if path.exists():
            return
        make_folder(self._aside)
        write_file(path, data)
        self._metrics.spool_damaged_records.inc(self._note_set_aside(data))
        logger.error("Rows in the spool are %s and were set aside as %s.", why, path)

    def _note_set_aside(self, data: bytes) -> int:
        records = records_in(data)
        self.damaged_records += records
        self._aside_bytes += len(data)
        return records


def open_spool(folder: Path, max_bytes: int, metrics: Metrics) -> Spool:
    """The spool in a folder.

    Raises:
        SpoolInUse: another process has it.
        SettingsError: it cannot be used, and why, in one sentence.
    """
    others = (
        "choose another folder with SENTIMENT_SPOOL_DIR, or do without by SENTIMENT_SPOOL=strict"
    )
    try:
        return Spool(folder, max_bytes, metrics)
    except FolderInUse as error:
        raise SpoolInUse(
            f"The spool's folder {folder} is in use by another sentiment ({error}): stop that one, "
            f"{others}."
        ) from None
    except OSError as error:
        raise SettingsError(
            f"The spool's folder {folder} cannot be used ({error.strerror or error}): make it "
            f"writable, {others}."
        ) from error


def _encoded(rows: Sequence[PredictionRow]) -> tuple[bytes, dict[UUID, str]]:
    """Rows as records, and by id the objection to those that cannot be any."""
    records: list[bytes] = []
    refused: dict[UUID, str] = {}
    for row in rows:
        try:
            records.append(encode(to_json(row)))
        except PydanticSerializationError as error:  # half a surrogate pair, which is no character
            refused[row.id] = type(error).__name__
    return b"".join(records), refused


def is_spool(folder: Path) -> bool:
    """Whether a folder has nothing in it that is not a spool's."""
    names = (path.name for path in folder.iterdir())
    return all(name in ("lock", "damaged") or NAME.fullmatch(name) for name in names)


def segments_in(folder: Path) -> list[Path]:
    """The segments' files, oldest first."""
    return sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name))


def records_in(damage: bytes) -> int:
    """How many records some bytes have been, at least."""
    return max(1, damage.count(MARKER))


def content_of(path: Path, start: int = 0, size: int | None = None) -> bytes:
    """Bytes of a file from a place on, all by default; see `read_at` for unreadable ones."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return read_at(fd, start, os.fstat(fd).st_size - start if size is None else size)
    finally:
        os.close(fd)


def created_at(row: bytes) -> datetime:
    """When a row was made."""
    return datetime.fromisoformat(json.loads(row)["created_at"])
