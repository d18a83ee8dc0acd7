"""Lines of a byte stream, with how far it has been read and a digest of what was."""

import hashlib
import io
import os
import select
from collections.abc import Iterator
from stat import S_ISREG
from typing import TypeVar

from ..errors import InputError
from .rows import Position

# A line beyond this is no text of a person, and reading it whole would not keep memory bounded.
MAX_LINE_BYTES = 16 * 1024 * 1024
BLOCK_BYTES = 64 * 1024
# A chunk of very long texts ends early, so that a few chunks in flight stay a few megabytes.
CHUNK_BYTES = 4 * 1024 * 1024
BOM = b"\xef\xbb\xbf"

# A producer that writes more slowly than this (a person, `tail -f`) gets its answers at once.
PATIENCE_SECONDS = 0.05

Record = TypeVar("Record")


def open_raw(path: str) -> io.FileIO:
    """Opens a file for reading, or standard input for `-`.

    Raises:
        InputError: it cannot be opened.
    """
    try:
        # Standard input is not `sys.stdin`: a thread that waits in that object's lock when the
        # process ends is fatal to the interpreter.
        return io.FileIO(0, closefd=False) if path == "-" else io.FileIO(path)
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: str, error: OSError) -> InputError:
    """The sentence for an input that the system does not let us read."""
    return InputError(f"Cannot read {name_of(path)}: {error.strerror}.")


def name_of(path: str) -> str:
    """How messages call an input."""
    return "standard input" if path == "-" else repr(path)


class Source:
    """Reads UTF-8 lines and knows its position.

    Args:
        path: a file, or `-` for standard input.

    Raises:
        InputError: it cannot be read, is not UTF-8, or has a line over 16 MiB.
    """

    def __init__(self, path: str) -> None:
        self.name = name_of(path)
        self._path = path
        self._raw = open_raw(path)
        self._buffer = bytearray()
        self._ended = False
        self._digest = hashlib.blake2b(digest_size=16)
        self._lines = 0
        self._offset = 0
        self.rows = 0
        self._fill()
        if self._buffer.startswith(BOM):
            self._take(len(BOM))

    @property
    def size(self) -> int | None:
        """Bytes of a regular file; None where the end is not known before it comes."""
        status = os.fstat(self._raw.fileno())
        return status.st_size if S_ISREG(status.st_mode) else None

    @property
    def lines(self) -> int:
        """Lines read so far: the number of the last one."""
        return self._lines

    def position(self) -> Position:
        """Where we are: after the last line that was read."""
        return Position(self.rows, self._lines, self._offset, self._digest.hexdigest())

    def line(self) -> str:
        """Reads the next line with its line break; an empty string is the end."""
        data = self._take(self._line_length())
        if data:
            self._lines += 1
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise InputError(
                f"Line {self._lines} of {self.name} is not UTF-8: byte 0x{data[error.start]:02x} "
                f"after {error.start} good ones. Convert the file (iconv -f WINDOWS-1252 "
                f"-t UTF-8) or mend the line."
            ) from error

    def peek(self) -> str:
        """The next line, which stays to be read; bytes that are not UTF-8 are replaced."""
        return self._buffer[: self._line_length()].decode(errors="replace")

    def idle(self) -> bool:
        """Whether no further line is there yet; never so for a regular file."""
        if self._ended or b"\n" in self._buffer:
            return False
        return not select.select([self._raw], [], [], PATIENCE_SECONDS)[0]

    def chunks_of(self, records: Iterator[Record], rows: int) -> Iterator[list[Record]]:
        """Groups what `records` makes of our lines, a row each, and counts the rows.

        A group ends after `rows` rows, after 4 MiB, or when nothing more is there yet.
        """
        group: list[Record] = []
        begun = self._offset
        for record in records:
            group.append(record)
            self.rows += 1
            if len(group) == rows or self._offset - begun >= CHUNK_BYTES or self.idle():
                yield group
                group, begun = [], self._offset
        if group:
            yield group

    def skip_to(self, position: Position) -> None:
        """Goes on after `position`, and checks that what stands before it is what it was.

        Raises:
            InputError: the input has changed or has become shorter.
        """
        while self._offset < position.offset and (self._buffer or self._fill()):
            self._take(min(len(self._buffer), position.offset - self._offset))
        self._lines, self.rows = position.lines, position.rows
        if self.position() != position:
            raise changed(self.name)

    def close(self) -> None:
        self._raw.close()

    def _line_length(self) -> int:
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > MAX_LINE_BYTES:
                raise InputError(
                    f"Line {self._lines + 1} of {self.name} is longer than "
                    f"{MAX_LINE_BYTES >> 20} MiB; is it a file of lines?"
                )
            if not self._fill():
                return searched
        return end + 1

    def _fill(self) -> bool:
        try:
            block = self._raw.read(BLOCK_BYTES)
        except OSError as error:
            raise unreadable(self._path, error) from error
        self._ended = not block
        self._buffer += block or b""
        return not self._ended

    def _take(self, length: int) -> bytes:
        data = bytes(memoryview(self._buffer)[:length])
        del self._buffer[:length]
        self._digest.update(data)
        self._offset += length
        return data


def changed(name: str) -> InputError:
    """The sentence for an input whose classified part is no longer the same."""
    return InputError(
        f"The part of {name} that is already classified has changed since; put it back, or "
        f"begin again with --restart."
    )
