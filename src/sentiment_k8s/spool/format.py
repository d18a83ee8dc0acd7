"""The bytes of a spool: records one after the other, each of which proves itself.

    marker      4 bytes that UTF-8 never has, so that the next record is found after damage
    length      of the payload, in bytes
    checksum    CRC-32 of marker and length
    checksum    CRC-32 of the payload
    payload     UTF-8

The header has a checksum of its own so that a damaged length is not taken for a write that was cut:
a torn record is cut off, a damaged one is set aside. (LevelDB's log reads on after damage too;
Prometheus throws away what comes after it, and Vector's disk buffer the rest of the file.)
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

MARKER = b"\xff\xfeSR"
START = struct.Struct(">4sI")
CHECKSUMS = struct.Struct(">II")
HEADER_BYTES = START.size + CHECKSUMS.size


class Part(NamedTuple):
    """Some bytes: one intact record, or all between two of them that is none."""

    start: int
    end: int
    intact: bool


def encode(payload: bytes) -> bytes:
    """The record of a payload."""
    start = START.pack(MARKER, len(payload))
    return start + CHECKSUMS.pack(crc32(start), crc32(payload)) + payload


def payload_of(data: bytes, part: Part) -> bytes:
    """What an intact record carries."""
    return data[part.start + HEADER_BYTES : part.end]


def parts(data: bytes) -> Iterator[Part]:
    """All of the data, in order, told apart."""
    position = 0
    while position < len(data):
        end = _end_of_record(data, position)
        intact = end is not None
        if end is None:
            end = _next_record(data, position)
        yield Part(position, end, intact)
        position = end


def is_torn(tail: bytes) -> bool:
    """Whether damage at the end is a write that was cut: the beginning of a record, or zeros, which
    is what a file system shows where data did not reach the disk."""
    if len(tail) < HEADER_BYTES:
        return MARKER.startswith(tail[:4]) or not any(tail)
    needed = _length(tail, 0)
    return not any(tail) if needed is None else needed > len(tail)


def _end_of_record(data: bytes, position: int) -> int | None:
    length = _length(data, position)
    if length is None or position + length > len(data):
        return None
    _, expected = CHECKSUMS.unpack_from(data, position + START.size)
    payload = memoryview(data)[position + HEADER_BYTES : position + length]
    return position + length if crc32(payload) == expected else None


def _next_record(data: bytes, position: int) -> int:
    """Where the next intact record begins, or the data ends."""
    while (position := data.find(MARKER, position + 1)) >= 0:
        if _end_of_record(data, position) is not None:
            return position
    return len(data)


def _length(data: bytes, position: int) -> int | None:
    """Bytes of the record whose intact header is here; None if there is none."""
    start = data[position : position + START.size]
    if not start.startswith(MARKER) or position + HEADER_BYTES > len(data):
        return None
    expected, _ = CHECKSUMS.unpack_from(data, position + START.size)
    return HEADER_BYTES + START.unpack(start)[1] if crc32(start) == expected else None
