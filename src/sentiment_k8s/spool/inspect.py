"""What is in a spool's folder, told without touching it, so also while a server uses it."""

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from .format import parts, payload_of
from .spool import content_of, created_at, records_in, segments_in


class Summary(NamedTuple):
    """Rows that wait, the bytes of their files, when the oldest was made, and records that cannot
    be read or were refused by PostgreSQL (at least)."""

    rows: int
    bytes: int
    oldest: datetime | None
    damaged_records: int


def inspect(folder: Path) -> Summary:
    """Count what is there. A server that drains may take some of it away meanwhile.

    Raises:
        OSError: the folder cannot be read.
    """
    rows = size = damaged = 0
    oldest: datetime | None = None
    for path in segments_in(folder):
        with suppress(FileNotFoundError):
            data = content_of(path)
            size += len(data)
            for part in parts(data):
                rows += part.intact
                if part.intact and oldest is None:
                    oldest = created_at(payload_of(data, part))
    for path in (folder / "damaged").glob("*"):
        damaged += records_in(path.read_bytes())
    return Summary(rows, size, oldest, damaged)
