"""Idempotency keys: a request that is sent again gets the answer that it got before.

A key is written in its rows' own transaction, so it is there if and only if they are, and nothing
is left behind by a server that dies in between. Two servers that work on the same key find out when
they commit: the second one writes nothing and answers what the first one has written. Within a
server the second request waits for the first one instead.
"""

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import asyncpg

from .database import Database
from .errors import DatabaseUnavailable, RequestError
from .keyed_rows import Claim, Claims, KeyTaken, Lookups, RequestKey, reused
from .metrics import Metrics
from .pipeline import answered_within
from .records import PredictionRow

# Visible ASCII: what RFC 9110 lets a header field have, without blanks.
KEY = re.compile(r"[\x21-\x7e]{1,255}")

Record = Callable[[Sequence[PredictionRow]], Awaitable[None]]
Compute = Callable[[Record], Awaitable[list[PredictionRow]]]


def request_key(values: Sequence[str], request: bytes, secret: bytes | None = None) -> RequestKey:
    """What is kept of a key, and of the request that it was sent with.

    Args:
        values: of the header, which is to be there once.
        request: all that the answer depends on.
        secret: of the digests; without it they are plain ones.

    Raises:
        RequestError: the key is not usable.
    """
    if len(values) != 1 or not KEY.fullmatch(values[0]):
        raise RequestError("Idempotency-Key: send 1 to 255 visible ASCII characters, once.")

    def digest(content: bytes) -> bytes:
        if secret is None:
            return hashlib.sha256(content).digest()
        return hmac.digest(secret, content, "sha256")

    return RequestKey(digest(values[0].encode()), digest(request))


@dataclass(frozen=True, slots=True)
class InWork:
    """A key whose request is being answered: its rows at last, or None if another one is to try."""

    body: bytes
    rows: asyncio.Future[list[PredictionRow] | None]


class Keys:
    """Answers each key once.

    Args:
        database: the log.
        metrics: where commits and repeated answers are counted.
        labels: of the model, in its order, which the log does not keep.
        seconds: for how long a key is kept.
        deadline_seconds: time a request may take, waiting for another one included.
    """

    def __init__(
        self,
        database: Database,
        metrics: Metrics,
        labels: Sequence[str],
        *,
        seconds: int = 24 * 3600,
        deadline_seconds: float = 30.0,
    ) -> None:
        self._metrics = metrics
        self._order = {label: place for place, label in enumerate(labels)}
        self._deadline_seconds = deadline_seconds
        self._claims = Claims(database, metrics, seconds)
        self._lookups = Lookups(database)
        self._in_work: dict[bytes, InWork] = {}

    async def once(self, key: RequestKey, compute: Compute) -> tuple[list[PredictionRow], bool]:
        """The rows that answer a key: those in the log, else new ones.

        Args:
            key: of the request.
            compute: makes the rows and hands them to what it is called with, which makes them
                durable.

        Returns:
            The rows, and whether they had been answered before (then perhaps without texts).

        Raises:
            KeyReused: the key stands for another body.
            DeadlineExceeded: not within the deadline.
            SentimentError: what `compute` raises. The key stays free.
        """
        async with answered_within(self._deadline_seconds):
            while (first := self._in_work.get(key.key)) is not None:
                if first.body != key.body:
                    raise reused()
                if rows := await asyncio.shield(first.rows):
                    return self._again(rows)
            mine = InWork(key.body, asyncio.get_running_loop().create_future())
            self._in_work[key.key] = mine
            rows = None
            try:
                while (rows := await self._answered(key)) is None:
                    try:
                        rows = await compute(partial(self._record, key))
                    except KeyTaken:  # by another server, whose answer is ours now
                        continue
                    return rows, False
                return self._again(rows)
            except DatabaseUnavailable as error:  # for those who wait as well, and at once
                mine.rows.set_exception(error)
                mine.rows.exception()  # perhaps nobody waits
                raise
            finally:
                del self._in_work[key.key]
                if not mine.rows.done():
                    mine.rows.set_result(rows)

    async def close(self) -> None:
        """Wait until everything that was handed in is durable or refused."""
        await self._lookups.close()
        await self._claims.close()

    async def _record(self, key: RequestKey, rows: Sequence[PredictionRow]) -> None:
        await self._claims.submit(Claim(key, rows))

    def _again(self, rows: list[PredictionRow]) -> tuple[list[PredictionRow], bool]:
        self._metrics.replays.inc()
        return rows, True

    async def _answered(self, key: RequestKey) -> list[PredictionRow] | None:
        found = await self._lookups.submit(key)
        return None if found is None else [self._row(record) for record in found]

    def _row(self, record: asyncpg.Record) -> PredictionRow:
        values: dict[str, Any] = dict(record)
        scores = json.loads(values["scores"])
        last = len(self._order)
        in_order = sorted(scores, key=lambda label: self._order.get(label, last))
        values["scores"] = {label: scores[label] for label in in_order}
        return PredictionRow(text="", **values)
