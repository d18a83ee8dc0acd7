"""A folder that one process at a time may use, and files that outlive a power cut."""

import errno
import fcntl
import os
import sys
from contextlib import suppress
from pathlib import Path

BLOCK = 4096
PID_BYTES = 32
# Stands for bytes that the disk cannot give. Not zeros, which a write that was cut may leave.
UNREADABLE = b"\xff"

# fdatasync writes the size too when that has changed; macOS has none.
sync = os.fdatasync if sys.platform == "linux" else os.fsync


class FolderInUse(Exception):
    """Another process holds the folder's lock.

    Args:
        holder: its process id, as it noted it.
    """

    def __init__(self, holder: str) -> None:
        super().__init__(f"process {holder}")


class FolderLock:
    """The file `lock` in a folder, locked for as long as this object is not closed.

    Args:
        folder: there already.

    Raises:
        FolderInUse: another process has it.
        OSError: the file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lock"
        self._fd = self._take()
        with suppress(OSError):  # a full disk, which the drain will empty
            os.pwrite(self._fd, str(os.getpid()).encode().ljust(PID_BYTES), 0)

    def remove(self) -> None:
        """Take the file away, of a folder that nobody needs any more."""
        self.path.unlink()

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._fd)

    def _take(self) -> int:
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with suppress(FileNotFoundError):
                    # Whoever removed a folder that it had adopted took the lock's file away.
                    if os.path.samestat(os.fstat(fd), os.stat(self.path)):  # noqa: PTH116
                        return fd
            except BlockingIOError:
                holder = os.read(fd, PID_BYTES).decode(errors="replace").strip() or "unknown"
                os.close(fd)
                raise FolderInUse(holder) from None
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write all of the data, where a disk that gets full takes the first part of it."""
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def write_file(path: Path, data: bytes) -> None:
    """Make a file whole, or not at all."""
    unfinished = path.with_name(path.name + ".new")
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, data)
        sync(fd)
    finally:
        os.close(fd)
    unfinished.replace(path)
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder for its owner alone, and those above it, so that a power cut leaves them."""
    if folder.is_dir():
        return
    missing = [parent for parent in folder.parents if not parent.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for made in (folder, *missing):
        sync_folder(made.parent)


def sync_folder(folder: Path) -> None:
    """Bring a folder's list of names to disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_at(fd: int, start: int, size: int) -> bytes:
    """Bytes of a file, at most as many as there are; `UNREADABLE` for those that the disk cannot
    give."""
    try:
        return _read(fd, start, size)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    blocks = []
    for position in range(start, start + size, BLOCK):
        wanted = min(BLOCK, start + size - position)
        try:
            blocks.append(_read(fd, position, wanted))
        except OSError:
            blocks.append(UNREADABLE * wanted)
    return b"".join(blocks)


def _read(fd: int, start: int, size: int) -> bytes:
    pieces = []
    while size and (piece := os.pread(fd, size, start)):
        pieces.append(piece)
        start, size = start + len(piece), size - len(piece)
    return b"".join(pieces)
