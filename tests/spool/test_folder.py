import ctypes
import mmap
import os
import sys
from pathlib import Path

import pytest

from sentiment_k8s.spool.folder import BLOCK, FolderInUse, FolderLock, read_at, write_file
from sentiment_k8s.spool.format import is_torn


def test_a_folder_is_for_one_at_a_time_and_its_holder_is_named(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    with pytest.raises(FolderInUse, match=f"process {os.getpid()}"):
        FolderLock(tmp_path)
    lock.close()
    FolderLock(tmp_path).close()


def test_a_full_disk_does_not_keep_a_folder_from_its_user(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to("/dev/full")
    FolderLock(tmp_path).close()


def test_whoever_waited_for_a_removed_folder_makes_a_new_lock(tmp_path: Path) -> None:
    first = FolderLock(tmp_path)
    first.remove()
    second = FolderLock(tmp_path)
    first.close()
    with pytest.raises(FolderInUse):
        FolderLock(tmp_path)
    second.close()


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    write_file(path, b"one")
    write_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert [file.name for file in tmp_path.iterdir()] == ["kept"]


def test_a_full_disk_leaves_no_half_a_file_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "kept.new").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_file(tmp_path / "kept", b"one")
    assert not (tmp_path / "kept").exists()


def test_a_file_is_read_from_a_place_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    assert read_at(fd, 2, 3) == b"234"
    assert read_at(fd, 8, 100) == b"89"
    os.close(fd)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/mem has read errors at will")
def test_what_the_disk_cannot_give_is_no_torn_write_and_its_neighbours_are_read() -> None:
    library = ctypes.CDLL(None)
    library.mmap.restype = ctypes.c_void_p
    how = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    address = library.mmap(None, ctypes.c_size_t(3 * BLOCK), mmap.PROT_WRITE, how, -1, 0)
    ctypes.memset(address, ord("x"), 3 * BLOCK)
    library.munmap(ctypes.c_void_p(address + BLOCK), BLOCK)  # reading it is EIO from now on
    fd = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        unreadable = read_at(fd, address + BLOCK, BLOCK)
        assert not is_torn(unreadable)
        assert read_at(fd, address, 3 * BLOCK) == b"x" * BLOCK + unreadable + b"x" * BLOCK
    finally:
        os.close(fd)
