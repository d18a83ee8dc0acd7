"""The log's rows, and the group commit that makes them durable before an answer is given."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import UUID

from .errors import RowsRefused
from .group_commit import GroupCommit
from .metrics import Metrics

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_MILLISECONDS = (datetime.max.replace(tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)

# A clock that is set back by more had been wrong: rows must not have its times for hours.
MOST_AHEAD_MILLISECONDS = 10_000


@dataclass(frozen=True, slots=True)
class PredictionRow:
    """One answered prediction, with what makes it reproducible.

    `created_at` is the time in `id` (UUIDv7), in UTC and whole milliseconds; `scores` has every
    label's score; `revision` is the hub commit or the digest of the ONNX file; `engine` is what
    computed it, None in rows from before it was written down.
    """

    id: UUID
    created_at: datetime
    text: str
    prediction: str
    score: float
    scores: dict[str, float]
    model: str
    revision: str
    precision: str
    engine: str | None
    tokens: int
    truncated: bool
    queue_seconds: float
    inference_seconds: float
    request_id: str
    subject: str | None = None


class Identities:
    """Makes UUIDv7 ids that rise within a process (RFC 9562, section 6.2, method 1), unless a clock
    is set back by more than some seconds.

    Args:
        clock: nanoseconds since 1970.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._milliseconds = 0
        self._counter = 0

    def next(self) -> tuple[UUID, datetime]:
        """A new id and the time in it."""
        now = self._clock() // 1_000_000
        if now > self._milliseconds or now < self._milliseconds - MOST_AHEAD_MILLISECONDS:
            self._milliseconds, self._counter = now, 0
        else:  # the same millisecond, or a clock that was set back a little
            self._counter += 1
            if self._counter > 0xFFF:
                self._milliseconds, self._counter = self._milliseconds + 1, 0
        random = int.from_bytes(os.urandom(8), "big") >> 2
        value = self._milliseconds << 80 | 0x7 << 76 | self._counter << 64 | 0b10 << 62 | random
        return UUID(int=value), EPOCH + timedelta(milliseconds=self._milliseconds)


def time_in(row_id: UUID) -> datetime:
    """The time in a UUIDv7, to the millisecond; nonsense for any other UUID."""
    return EPOCH + timedelta(milliseconds=min(row_id.int >> 80, MOST_MILLISECONDS))


def iso(time: datetime) -> str:
    """A time as it is written everywhere: UTC, to the millisecond, with a Z."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


class RowStore(Protocol):
    """Where rows become durable. The database is one; a spool before it will be another."""

    async def insert(self, rows: Sequence[PredictionRow]) -> None:
        """Return once all rows are durable.

        Raises:
            DatabaseUnavailable: none is known to be.
            RowsRefused: all are but those that it names.
        """


class Recorder(GroupCommit[Sequence[PredictionRow], None]):
    """Makes the rows of each call durable, those of many calls together.

    Args:
        store: where the rows go.
        metrics: where commits are counted and timed.
    """

    def __init__(self, store: RowStore, metrics: Metrics) -> None:
        super().__init__("recorder")
        self._store = store
        self._metrics = metrics

    async def record(self, rows: Sequence[PredictionRow]) -> None:
        """Return once `rows` are durable.

        Raises:
            DatabaseUnavailable: they are not, and nothing may be claimed.
            RowsRefused: one of them cannot be; others' rows in the same commit are.
        """
        await self.submit(rows)

    async def commit(self, group: Sequence[Sequence[PredictionRow]]) -> list[Exception | None]:
        """All rows in one transaction."""
        rows = [row for own in group for row in own]
        try:
            with self._metrics.commit_seconds.time():
                await self._store.insert(rows)
        except RowsRefused as error:
            self._metrics.rows.inc(len(rows) - len(error.refused))
            return [error if any(row.id in error.refused for row in own) else None for own in group]
        except Exception:
            self._metrics.commit_failures.inc()
            raise
        self._metrics.rows.inc(len(rows))
        return [None] * len(group)

    def size(self, entry: Sequence[PredictionRow]) -> tuple[int, int]:
        """Rows, and characters of their texts."""
        return len(entry), sum(len(row.text) for row in entry)
