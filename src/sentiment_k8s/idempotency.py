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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import asyncpg
from pydantic_core import to_json

from .connections import UNFIT, Connection
from .database import INSERT, Database, rows_as_json
from .errors import KeyReused, RequestError, RowsRefused
from .group_commit import GroupCommit
from .metrics import Metrics
from .pipeline import answered_within
from .records import PredictionRow, time_in

# Visible ASCII: what RFC 9110 lets a header field have, without blanks.
KEY = re.compile(r"[\x21-\x7e]{1,255}")

HELD = "SELECT body, ids FROM idempotency_keys WHERE key = $1 AND expires_at > now()"
# The times in the ids leave partitions out.
COLUMNS = ", ".join(f'"{field.name}"' for field in fields(PredictionRow))
HELD_ROWS = f"""
SELECT {COLUMNS} FROM predictions WHERE created_at BETWEEN $1 AND $2 AND id = ANY ($3)
"""  # noqa: S608  # the names of columns are ours
FREE = "DELETE FROM idempotency_keys WHERE key = $1 AND ids = $2"

# A key that is held is taken over when it has expired; one with our own ids is ours already (the
# answer to the commit was lost, and it is done again). Sorted, so that two servers that want the
# same keys wait for each other in one direction only.
WON = """
WITH won AS (
    INSERT INTO idempotency_keys AS held (key, body, ids, expires_at)
    SELECT decode(key, 'hex'), decode(body, 'hex'), ids, now() + make_interval(secs => $3)
    FROM json_to_recordset($2::json) AS claim (key text, body text, ids uuid[])
    ORDER BY key
    ON CONFLICT (key) DO UPDATE
    SET body = excluded.body, ids = excluded.ids, expires_at = excluded.expires_at
    WHERE held.expires_at <= now() OR held.ids = excluded.ids
    RETURNING key, ids
)
"""
WRITTEN = INSERT.replace("ON CONFLICT", "WHERE id IN (SELECT unnest(ids) FROM won)\nON CONFLICT")
CLAIM = f"{WON}, written AS ({WRITTEN})\nSELECT key FROM won"

KEYS_A_DELETE = 1000
DELETE_EXPIRED = """
DELETE FROM idempotency_keys WHERE key IN (
    SELECT key FROM idempotency_keys WHERE expires_at <= now() LIMIT $1 FOR UPDATE SKIP LOCKED
)
"""

Record = Callable[[Sequence[PredictionRow]], Awaitable[None]]
Compute = Callable[[Record], Awaitable[list[PredictionRow]]]


@dataclass(frozen=True, slots=True)
class RequestKey:
    """An idempotency key and what it stands for, both as digests."""

    key: bytes
    body: bytes


class KeyTaken(Exception):
    """Another server has written this key first."""


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
class Claim:
    """The rows that are to answer a key from now on."""

    key: RequestKey
    rows: Sequence[PredictionRow]


class Claims(GroupCommit[Claim]):
    """Writes keys and their rows, those of many requests together.

    Args:
        database: the log.
        metrics: where commits are counted and timed.
        seconds: for how long a key is kept.
    """

    def __init__(self, database: Database, metrics: Metrics, seconds: int) -> None:
        super().__init__("recorder of keys")
        self._database = database
        self._metrics = metrics
        self._seconds = seconds

    async def commit(self, group: Sequence[Claim]) -> Mapping[int, Exception]:
        """All keys that nobody else has, with their rows, in one transaction."""
        try:
            with self._metrics.commit_seconds.time():
                won = await self._insert(group)
        except UNFIT as error:
            if len(group) > 1:
                return await self._commit_one_by_one(group)
            return {0: RowsRefused({group[0].rows[0].id: type(error).__name__})}
        except Exception:
            self._metrics.commit_failures.inc()
            raise
        self._metrics.rows.inc(sum(len(claim.rows) for claim in group if claim.key.key in won))
        return {place: KeyTaken() for place, claim in enumerate(group) if claim.key.key not in won}

    def size(self, entry: Claim) -> tuple[int, int]:
        """Rows, and characters of their texts."""
        return len(entry.rows), sum(len(row.text) for row in entry.rows)

    async def _commit_one_by_one(self, group: Sequence[Claim]) -> dict[int, Exception]:
        errors: dict[int, Exception] = {}
        for place, claim in enumerate(group):
            if error := (await self.commit([claim])).get(0):
                errors[place] = error
        return errors

    async def _insert(self, group: Sequence[Claim]) -> set[bytes]:
        rows = rows_as_json([row for claim in group for row in claim.rows])
        keys = to_json(
            [
                {
                    "key": claim.key.key.hex(),
                    "body": claim.key.body.hex(),
                    "ids": [row.id for row in claim.rows],
                }
                for claim in group
            ]
        ).decode()

        async def claim_all(connection: Connection) -> list[asyncpg.Record]:
            return await connection.fetch(CLAIM, rows, keys, self._seconds)

        return {record["key"] for record in await self._database.keyed(claim_all)}


@dataclass(frozen=True, slots=True)
class InWork:
    """A key whose request is being answered: its rows at last, or None if it failed."""

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
        self._database = database
        self._metrics = metrics
        self._order = {label: place for place, label in enumerate(labels)}
        self._deadline_seconds = deadline_seconds
        self._claims = Claims(database, metrics, seconds)
        self._in_work: dict[bytes, InWork] = {}

    async def once(self, key: RequestKey, compute: Compute) -> tuple[list[PredictionRow], bool]:
        """The rows that answer a key: those in the log, else new ones.

        Args:
            key: of the request.
            compute: makes the rows and hands them to what it is called with, which makes them
                durable.

        Returns:
            The rows, and whether they had been answered before.

        Raises:
            KeyReused: the key stands for another body.
            DeadlineExceeded: not within the deadline.
            SentimentError: what `compute` raises. The key stays free.
        """
        async with answered_within(self._deadline_seconds):
            while (first := self._in_work.get(key.key)) is not None:
                check_body(first.body, key)
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
            finally:
                del self._in_work[key.key]
                mine.rows.set_result(rows)

    async def close(self) -> None:
        """Wait until everything that was handed in is durable or refused."""
        await self._claims.close()

    async def _record(self, key: RequestKey, rows: Sequence[PredictionRow]) -> None:
        await self._claims.submit(Claim(key, rows))

    def _again(self, rows: list[PredictionRow]) -> tuple[list[PredictionRow], bool]:
        self._metrics.replays.inc()
        return rows, True

    async def _answered(self, key: RequestKey) -> list[PredictionRow] | None:
        """What the log has for a key. One whose rows are gone (erased, pruned) becomes free."""

        async def find(connection: Connection) -> tuple[bytes, list[asyncpg.Record]] | None:
            held = await connection.fetchrow(HELD, key.key)
            if held is None:
                return None
            body, ids = held
            if body != key.body:
                return body, []
            times = [time_in(identity) for identity in ids]
            rows = await connection.fetch(HELD_ROWS, min(times), max(times), ids)
            if len(rows) < len(ids):
                await connection.execute(FREE, key.key, ids)
                return None
            by_id = {row["id"]: row for row in rows}
            return body, [by_id[identity] for identity in ids]

        found = await self._database.keyed(find)
        if found is None:
            return None
        body, rows = found
        check_body(body, key)
        return [self._row(record) for record in rows]

    def _row(self, record: asyncpg.Record) -> PredictionRow:
        fields: dict[str, Any] = dict(record)
        scores = json.loads(fields["scores"])
        last = len(self._order)
        in_order = sorted(scores, key=lambda label: self._order.get(label, last))
        return PredictionRow(**fields | {"scores": {label: scores[label] for label in in_order}})


def check_body(body: bytes, key: RequestKey) -> None:
    """Refuse a key that stands for another body.

    Raises:
        KeyReused: it does.
    """
    if body != key.body:
        raise KeyReused(
            "This Idempotency-Key was sent with another body or to another route: "
            "send a new key with a new request."
        )


async def delete_expired(database: Database) -> None:
    """Delete the keys whose time is over, not too many at once."""

    async def delete(connection: Connection) -> str:
        return await connection.execute(DELETE_EXPIRED, KEYS_A_DELETE)

    while await database.read(delete) == f"DELETE {KEYS_A_DELETE}":
        pass
