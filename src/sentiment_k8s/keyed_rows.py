"""Idempotency keys in the database: a key is written in its rows' own transaction, so it is there
if and only if they are. Keys of many requests are looked up together, and written together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from uuid import UUID

import asyncpg
from pydantic_core import to_json

from .connections import UNFIT, Connection
from .database import INSERT, Database, rows_as_json
from .errors import KeyReused, RowsRefused
from .group_commit import GroupCommit
from .metrics import Metrics
from .records import PredictionRow, time_in

HELD = "SELECT key, body, ids FROM idempotency_keys WHERE key = ANY ($1) AND expires_at > now()"
# The times in the ids leave partitions out. Texts stay where they are: whoever asks has sent them.
COLUMNS = ", ".join(f'"{field.name}"' for field in fields(PredictionRow) if field.name != "text")
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

ROWS_A_KEY = 16  # are expected, so that a lookup has a bounded number of keys
KEYS_A_DELETE = 1000
DELETE_EXPIRED = """
DELETE FROM idempotency_keys WHERE key IN (
    SELECT key FROM idempotency_keys WHERE expires_at <= now() LIMIT $1 FOR UPDATE SKIP LOCKED
)
"""

Rows = list[asyncpg.Record]


@dataclass(frozen=True, slots=True)
class RequestKey:
    """An idempotency key and what it stands for, both as digests."""

    key: bytes
    body: bytes


class KeyTaken(Exception):
    """Another server has written this key first."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The rows that are to answer a key from now on."""

    key: RequestKey
    rows: Sequence[PredictionRow]


class Claims(GroupCommit[Claim, None]):
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

    async def commit(self, group: Sequence[Claim]) -> list[Exception | None]:
        """All keys that nobody else has, with their rows, in one transaction."""
        try:
            with self._metrics.commit_seconds.time():
                won = await self._insert(group)
        except UNFIT as error:
            if len(group) > 1:
                return [outcome for claim in group for outcome in await self.commit([claim])]
            return [RowsRefused({group[0].rows[0].id: type(error).__name__})]
        except Exception:
            self._metrics.commit_failures.inc()
            raise
        self._metrics.rows.inc(sum(len(claim.rows) for claim in group if claim.key.key in won))
        return [None if claim.key.key in won else KeyTaken() for claim in group]

    def size(self, entry: Claim) -> tuple[int, int]:
        """Rows, and characters of their texts."""
        return len(entry.rows), sum(len(row.text) for row in entry.rows)

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


class Lookups(GroupCommit[RequestKey, Rows | None]):
    """Looks keys up, those of many requests together. Answers a key's rows, None if it is free.

    Args:
        database: the log.
    """

    def __init__(self, database: Database) -> None:
        super().__init__("lookups of keys")
        self._database = database

    async def commit(self, group: Sequence[RequestKey]) -> list[Rows | Exception | None]:
        """The rows of all keys."""

        async def find(connection: Connection) -> list[Rows | Exception | None]:
            found = await connection.fetch(HELD, [key.key for key in group])
            held = {record["key"]: record for record in found}
            rows = await rows_of(connection, [i for record in found for i in record["ids"]])
            return [await outcome(connection, key, held.get(key.key), rows) for key in group]

        return await self._database.keyed(find)

    def size(self, _: RequestKey) -> tuple[int, int]:
        """How many rows it has is known when they are found."""
        return ROWS_A_KEY, 0


async def outcome(
    connection: Connection,
    key: RequestKey,
    held: asyncpg.Record | None,
    rows: Mapping[UUID, asyncpg.Record],
) -> Rows | Exception | None:
    """What a lookup answers.

    Args:
        connection: of the lookup.
        key: that was looked up.
        held: the key as it is in the database.
        rows: those that are there, of many keys.
    """
    if held is None:
        return None
    if held["body"] != key.body:
        return reused()
    own = [rows[identity] for identity in held["ids"] if identity in rows]
    if len(own) == len(held["ids"]):
        return own
    # They were erased or pruned: the key is free again.
    await connection.execute(FREE, key.key, held["ids"])
    return None


async def rows_of(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, asyncpg.Record]:
    """The rows with these ids that are there."""
    if not ids:
        return {}
    times = [time_in(identity) for identity in ids]
    rows = await connection.fetch(HELD_ROWS, min(times), max(times), ids)
    return {row["id"]: row for row in rows}


def reused() -> KeyReused:
    """What to tell of a key that stands for another body."""
    return KeyReused(
        "This Idempotency-Key was sent with another body or to another route: "
        "send a new key with a new request."
    )


async def delete_expired(database: Database) -> None:
    """Delete the keys whose time is over, not too many at once."""

    async def delete(connection: Connection) -> str:
        return await connection.execute(DELETE_EXPIRED, KEYS_A_DELETE)

    while await database.read(delete) == f"DELETE {KEYS_A_DELETE}":
        pass
