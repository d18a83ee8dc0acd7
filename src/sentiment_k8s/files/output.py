"""Where the bytes go, and how a run that was killed goes on.

A file is written as OUTPUT.partial. Beside it OUTPUT.partial.json says how many of its bytes are
safely on the disk and which input rows they answer; it is replaced atomically, after the bytes
are synced. A later run cuts the partial file there and goes on, so that the finished file, which
gets its name by a rename, is the one that an uninterrupted run writes.
"""

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol

from ..errors import InputError
from .rows import Position

# Makes the final file (second) of what was written while classifying (first).
Merge = Callable[[Path, Path], None]


@dataclass(frozen=True, slots=True)
class Tally:
    """How many rows were done, could not be classified, and were cut, since the first run began."""

    rows: int = 0
    errors: int = 0
    truncated: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is safely on the disk.

    Args:
        job: what must be the same for a later run to go on.
        position: the input that is answered; None before the first row.
        tally: counts up to there.
        size: bytes of the partial file that are whole and synced.
    """

    job: Mapping[str, object]
    position: Position | None = None
    tally: Tally = Tally()
    size: int = 0


class Output(Protocol):
    """Takes the output's bytes in order."""

    @property
    def checkpoint(self) -> Checkpoint | None:
        """Where an earlier run stopped; None when there is nothing to go on with."""
        ...

    def write(self, data: bytes, position: Position | None, tally: Tally) -> None:
        """Takes the next bytes, which answer the input up to `position`.

        Raises:
            InputError: they cannot be written.
            BrokenPipeError: the program that read them has gone.
        """
        ...

    def finish(self) -> None:
        """All rows are there: gives the output its name."""
        ...

    def close(self) -> None: ...


class StreamOutput:
    """Standard output, a pipe or a device: written at once, never gone on with."""

    checkpoint = None

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._name = name

    def write(self, data: bytes, position: Position | None, tally: Tally) -> None:
        try:
            self._stream.write(data)
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise unwritable(self._name, error) from error

    def finish(self) -> None: ...

    def close(self) -> None: ...


class FileOutput:
    """A file that appears when it is complete, and that a later run can go on with.

    Args:
        path: the output's name.
        job: what must be the same for a later run to go on (options, model).
        restart: begin anew, whatever an earlier run left; an existing output is replaced.
        every: seconds between two checkpoints, at least; a kill costs the work since the last.
        merge: makes the final file of the partial one; None when they are the same.

    Raises:
        InputError: it cannot be written, exists already, is being written by another process,
            or belongs to a run with other options.
    """

    def __init__(
        self,
        path: Path,
        job: Mapping[str, object],
        *,
        restart: bool = False,
        every: float = 1.0,
        merge: Merge | None = None,
    ) -> None:
        self._path, self._job, self._every, self._merge = path, job, every, merge
        self._partial = beside(path, ".partial")
        self._side = beside(path, ".partial.json")
        self._saved = time.monotonic()
        # A cancelled run closes while a thread still writes; the number of a closed file may
        # by then be another file's.
        self._busy = threading.Lock()
        self._unsaved = False
        if path.exists() and not (restart or self._partial.exists()):
            raise InputError(f"{str(path)!r} exists; --restart classifies again and replaces it.")
        try:
            # Unbuffered: what a chunk adds is large, and a failed write leaves nothing behind.
            self._file = os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise unwritable(str(path), error) from error
        try:
            self._lock()
            self.checkpoint = None if restart else self._earlier()
            self._latest = self.checkpoint or Checkpoint(job)
            self._begin()
        except BaseException:
            self.close()
            raise

    def write(self, data: bytes, position: Position | None, tally: Tally) -> None:
        with self._busy:
            try:
                self._append(data)
                size = self._latest.size + len(data)
                self._latest = replace(self._latest, position=position, tally=tally, size=size)
                self._unsaved = True
                if time.monotonic() - self._saved >= self._every:
                    self._save()
            except OSError as error:
                raise InputError(
                    f"{unwritable(str(self._path), error)} What is done is kept: make room and "
                    f"run the same command again to go on."
                ) from error

    def finish(self) -> None:
        with self._busy:
            try:
                self._save()
                self._rename()
            except OSError as error:
                raise unwritable(str(self._path), error) from error

    def close(self) -> None:
        with self._busy:
            # A run that was stopped, not killed, loses nothing; a full disk keeps the last one.
            with suppress(OSError):
                if self._unsaved:
                    self._save()
            os.close(self._file)

    def _append(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def _rename(self) -> None:
        complete = self._partial
        if self._merge:
            complete = beside(self._path, ".partial.merged")
            self._merge(self._partial, complete)
            sync(complete)
        complete.replace(self._path)
        sync(self._path.parent)
        self._partial.unlink(missing_ok=True)
        self._side.unlink()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"Another process is writing {str(self._path)!r}.") from None

    def _begin(self) -> None:
        try:
            if self.checkpoint is None:
                # Said before the first byte, so that no partial file lacks its side file.
                self._save()
            os.ftruncate(self._file, self._latest.size)
            os.lseek(self._file, 0, os.SEEK_END)
        except OSError as error:
            raise unwritable(str(self._path), error) from error

    def _earlier(self) -> Checkpoint | None:
        written = os.fstat(self._file).st_size
        try:
            saved = json.loads(self._side.read_text())
            position = saved["position"] and Position(**saved["position"])
            earlier = Checkpoint(saved["job"], position, Tally(**saved["tally"]), saved["size"])
        except FileNotFoundError:
            if written == 0:
                return None
            raise self._not_ours() from None
        except (ValueError, TypeError, KeyError):
            raise self._not_ours() from None
        if earlier.size > written:
            raise self._not_ours()
        if earlier.size == 0:
            return None
        for name, value in self._job.items():
            if earlier.job.get(name) != value:
                raise InputError(
                    f"{str(self._partial)!r} was begun with another {name} "
                    f"({earlier.job.get(name)!r}, now {value!r}); use the same to go on, or "
                    f"--restart to begin again."
                )
        return earlier

    def _not_ours(self) -> InputError:
        return InputError(
            f"{str(self._partial)!r} is not what an earlier run left; --restart begins again."
        )

    def _save(self) -> None:
        os.fsync(self._file)
        fresh = beside(self._path, ".partial.json.new")
        fresh.write_text(json.dumps(asdict(self._latest)))
        sync(fresh)
        fresh.replace(self._side)
        self._saved, self._unsaved = time.monotonic(), False


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def sync(path: Path) -> None:
    """Waits until a file or a folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def whole_file(path: Path, *, replace: bool) -> Iterator[BinaryIO]:
    """A file to write that gets its name when the block ends well; else nothing of it stays.

    Args:
        path: its name.
        replace: also where a file has that name already.

    Raises:
        InputError: it exists, cannot be written, or is being written by another process.
    """
    if path.exists() and not replace:
        raise InputError(f"{str(path)!r} exists; --replace writes it anew.")
    partial = beside(path, ".partial")
    try:
        with partial.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                file.truncate(0)
                yield file
                file.flush()
                os.fsync(file.fileno())
                partial.replace(path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        sync(path.parent)
    except BlockingIOError:
        raise InputError(f"Another process is writing {str(path)!r}.") from None
    except OSError as error:
        raise unwritable(str(path), error) from error


def unwritable(name: str, error: OSError) -> InputError:
    """The sentence for an output that the system does not let us write."""
    return InputError(f"Cannot write {name!r}: {error.strerror or error}.")


def open_output(
    path: str | None,
    job: Mapping[str, object],
    stdout: BinaryIO,
    *,
    restart: bool,
    every: float,
    merge: Merge | None,
) -> Output:
    """Opens a file to go on with, or standard output (None) or a device as it is.

    Raises:
        InputError: as `FileOutput`.
    """
    if path is None:
        return StreamOutput(stdout, "standard output")
    target = Path(path)
    if target.is_dir():
        raise InputError(f"{path!r} is a folder; name a file in it.")
    if target.exists() and not target.is_file():
        if merge and path != os.devnull:
            raise InputError(f"{path!r} is not a regular file, which Parquet needs.")
        return DeviceOutput(target)
    return FileOutput(target, job, restart=restart, every=every, merge=merge)


class DeviceOutput(StreamOutput):
    """A device or a named pipe, such as /dev/null."""

    def __init__(self, path: Path) -> None:
        try:
            super().__init__(path.open("wb"), str(path))
        except OSError as error:
            raise unwritable(str(path), error) from error

    def close(self) -> None:
        # What cannot be flushed was reported by the write that left it there.
        with suppress(OSError):
            self._stream.close()
