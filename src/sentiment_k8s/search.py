"""Finding the newest rows that pass some filters, however many there are and however few pass.

Times, cursors, labels and models are found by index. Words and scores are found either way. Common
ones are among the newest rows, which are looked at one by one, but never more than `ROWS_A_LOOK`
for a page. Rare ones are found by their own indexes, which do not know the time, in windows of time
that grow by eights: so what is fetched is at most about eight times what is needed. PostgreSQL's
planner, asked for the newest rows with a word at once, goes wrong for words between the two: it
takes computing a row's words for cheap. Where both fail a page ends early, and the next one goes
on: words that are common beside a score that is.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from .connections import Connection

PAGE_BYTES = 4 * 1024 * 1024  # of text, after which a page ends
# What is gone through for a page, at most: about 10 ms each.
ROWS_A_LOOK = 10_000
ROWS_A_LOOK_FOR_WORDS = 2_000
ROWS_A_LOOK_FOR_ALTERNATIVES = 500
ROWS_IN_A_WINDOW = 2_000
WINDOWS = 12
GROWTH = 8
SHORTEST = timedelta(seconds=1)
FIRST_ID = UUID(int=0)
BEGINNING = datetime.min.replace(tzinfo=UTC)

COLUMNS = """id, created_at, text, prediction, score, scores, model, revision, "precision", engine,
    tokens, truncated, queue_seconds, inference_seconds, request_id, subject"""
# The newest rows, as many as a page has room for. The inner query holds longer texts as references:
# what does not fit is neither unpacked nor sent. `looked_at` counts the rows that were gone
# through; the last one that a look may have is there whether it matches or not.
PAGE = f"""
SELECT {COLUMNS}, matches, looked_at, more, label AS feedback_label, comment, given_at
FROM (
    SELECT *, lead(true) OVER newest AS more,
        sum(octet_length(text)) OVER newest - octet_length(text) AS bytes_before
    FROM ({{rows}}) AS candidate
    WINDOW newest AS (ORDER BY created_at DESC, id DESC ROWS UNBOUNDED PRECEDING)
) AS counted
LEFT JOIN feedback ON predicted_at = created_at AND prediction_id = id
WHERE bytes_before < {{page_bytes}}
ORDER BY created_at DESC, id DESC
LIMIT {{limit}}
"""  # noqa: S608  # only names and numbers of ours
NEWEST = f"""
SELECT {COLUMNS}, matches, looked_at
FROM (
    SELECT *, {{filters}} AS matches, row_number() OVER () AS looked_at
    FROM (
        SELECT {COLUMNS} FROM predictions WHERE {{indexed}}
        ORDER BY created_at DESC, id DESC LIMIT {{most}}
    ) AS newest
) AS looked_at
WHERE matches OR looked_at = {{most}}
LIMIT {{limit}} + 1
"""  # noqa: S608
# MATERIALIZED: planned for all its rows, not for the newest few, so that they are found by the
# index of words or of scores.
OF_A_WINDOW = f"""
WITH found AS MATERIALIZED (
    SELECT {COLUMNS} FROM predictions WHERE {{indexed}} AND {{sparse}} LIMIT {ROWS_IN_A_WINDOW}
)
SELECT {COLUMNS}, matches, looked_at
FROM (SELECT *, {{filters}} AS matches, count(*) OVER () AS looked_at FROM found) AS looked_at
WHERE matches OR looked_at = {ROWS_IN_A_WINDOW}
ORDER BY created_at DESC, id DESC LIMIT {{limit}} + 1
"""  # noqa: S608

# The log may have been idle for days before it was looked at.
BOUNDS = """
SELECT (SELECT min(created_at) FROM predictions) AS oldest,
    (SELECT max(created_at) FROM predictions WHERE created_at <= $1) AS newest
"""

WORDS = "sentiment_words(text) @@ sentiment_search({})"
# Cheaper by far than a row's words, and true wherever they match: each word that is asked for is
# part of the text, unless the query has alternatives or exclusions.
HAS_PARTS = """text ILIKE ALL (ARRAY(
    SELECT '%' || word || '%' FROM unnest(tsvector_to_array(sentiment_words({0}))) AS word
    WHERE sentiment_search({0})::text !~ '[|!]'
))"""
ALTERNATIVES = re.compile(r"-|\bor\b", re.IGNORECASE)

Position = tuple[datetime, UUID]  # of a row; what comes later is older


@dataclass(frozen=True, slots=True)
class Filters:
    """Which rows of the log; a filter that is None lets all pass.

    Args:
        label: the prediction.
        model: the id of the model that made it.
        since: of this time or later, with a time zone.
        until: before this time, with a time zone.
        min_score: its score, at least.
        max_score: its score, at most.
        text: words that the text has, as typed into a search box (`bad -not "so bad" or awful`).
        kept: the whole of what the log keeps of a text.
    """

    label: str | None = None
    model: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    min_score: float | None = None
    max_score: float | None = None
    text: str | None = None
    kept: str | None = None

    @property
    def words(self) -> str | None:
        return self.text if self.kept is None else self.kept

    @property
    def may_be_sparse(self) -> bool:
        """Whether rows are asked for that may lie far apart, and that an index knows."""
        return (self.words, self.min_score, self.max_score) != (None, None, None)


class Conditions:
    """Parts of a query, with the values in them as numbered arguments."""

    def __init__(self) -> None:
        self.arguments: list[Any] = []

    def value(self, value: Any) -> str:
        self.arguments.append(value)
        return f"${len(self.arguments)}"

    def where(self, *conditions: tuple[str, Any]) -> str:
        """Those whose value is given, each with its value in place of {}."""
        given = [text.format(self.value(value)) for text, value in conditions if value is not None]
        return " AND ".join(given) or "true"

    def before(self, position: Position | None) -> str:
        if position is None:
            return "true"
        time, row_id = map(self.value, position)
        # The first half says nothing new, but it is what PostgreSQL leaves partitions out by.
        return f"created_at <= {time} AND (created_at, id) < ({time}, {row_id})"

    def indexed(self, filters: Filters, since: datetime | None, position: Position | None) -> str:
        where = self.where(
            ("prediction = {}", filters.label),
            ("model = {}", filters.model),
            ("created_at >= {}", since),
            ("created_at < {}", filters.until),
        )
        return f"{where} AND {self.before(position)}"

    def scores(self, filters: Filters) -> str:
        return self.where(("score >= {}", filters.min_score), ("score <= {}", filters.max_score))

    def kept(self, filters: Filters) -> str:
        return self.where(("text = {}", filters.kept))


@dataclass(slots=True)
class Found:
    """Some rows, newest first, and where to go on; None at the end of the log."""

    rows: list[asyncpg.Record]
    position: Position | None


async def find(
    connection: Connection,
    filters: Filters,
    limit: int,
    position: Position | None,
    page_bytes: int = PAGE_BYTES,
) -> Found:
    """The newest rows before a position that pass the filters.

    Args:
        connection: to the log.
        filters: which rows.
        limit: how many, at most; fewer when their texts reach `page_bytes`, or when many rows had
            to be looked at, perhaps none.
        position: where the rows before ended; None for the newest.
        page_bytes: see `limit`; one row there is, however long.
    """
    query, arguments, most = newest_query(filters, limit, position, page_bytes)
    rows = await connection.fetch(query, *arguments)
    if not rows or not (rows[-1]["more"] or rows[-1]["looked_at"] == most):
        return Found(rows, None)
    found = Found([row for row in rows if row["matches"]], position_of(rows[-1]))
    if filters.may_be_sparse and rows[-1]["looked_at"] == most and len(found.rows) < limit:
        started = datetime.now(UTC) if position is None else position[0]
        started = min(started, filters.until or started)
        await _look_back(connection, filters, limit, found, started, page_bytes)
    return found


async def _look_back(
    connection: Connection,
    filters: Filters,
    limit: int,
    found: Found,
    started: datetime,
    page_bytes: int,
) -> None:
    """Add what the indexes of words and scores find further back."""
    assert found.position is not None  # noqa: S101  # as `find` calls it
    bounds = await connection.fetchrow(BOUNDS, started)
    assert bounds is not None  # noqa: S101  # it has no FROM
    oldest = max(bounds["oldest"] or started, filters.since or BEGINNING)
    span = max((bounds["newest"] or started) - found.position[0], SHORTEST)
    size = 0
    for _ in range(WINDOWS):
        if len(found.rows) >= limit or size >= page_bytes:
            return
        span *= GROWTH
        lower = found.position[0] - min(span, found.position[0] - BEGINNING)
        query, arguments = window_query(
            filters, limit - len(found.rows), lower, found.position, page_bytes
        )
        rows = await connection.fetch(query, *arguments)
        if rows and rows[0]["looked_at"] == ROWS_IN_A_WINDOW:
            span /= GROWTH**3  # perhaps not the newest of them
            continue
        found.rows += rows
        if rows and rows[-1]["more"]:
            found.position = position_of(rows[-1])
            return
        if lower <= oldest:
            found.position = None
            return
        found.position = lower, FIRST_ID
        size += sum(len(row["text"]) for row in rows)


def newest_query(
    filters: Filters, limit: int, position: Position | None, page_bytes: int = PAGE_BYTES
) -> tuple[str, list[Any], int]:
    """What goes through the rows from the newest on, and at how many it looks at most."""
    conditions = Conditions()
    indexed = conditions.indexed(filters, filters.since, position)
    others = f"{conditions.scores(filters)} AND {conditions.kept(filters)}"
    most = ROWS_A_LOOK if filters.may_be_sparse else limit + 1
    if filters.kept is None and filters.text is not None:
        most = (
            ROWS_A_LOOK_FOR_ALTERNATIVES
            if ALTERNATIVES.search(filters.text)
            else ROWS_A_LOOK_FOR_WORDS
        )
        words = conditions.value(filters.text)
        others += f" AND {HAS_PARTS.format(words)} AND {WORDS.format(words)}"
    limited, sized = conditions.value(limit), conditions.value(page_bytes)
    rows = NEWEST.format(filters=others, indexed=indexed, most=most, limit=f"{limited}::int")
    page = PAGE.format(rows=rows, limit=limited, page_bytes=sized)
    return page, conditions.arguments, most


def window_query(
    filters: Filters,
    limit: int,
    lower: datetime,
    position: Position,
    page_bytes: int = PAGE_BYTES,
) -> tuple[str, list[Any]]:
    """What finds words and scores in a window of time."""
    conditions = Conditions()
    if filters.since is not None:
        lower = max(lower, filters.since)
    rows = OF_A_WINDOW.format(
        indexed=conditions.indexed(filters, lower, position),
        sparse=f"{conditions.where((WORDS, filters.words))} AND {conditions.scores(filters)}",
        filters=conditions.kept(filters),
        limit=f"{(limited := conditions.value(limit))}::int",
    )
    page = PAGE.format(rows=rows, limit=limited, page_bytes=conditions.value(page_bytes))
    return page, conditions.arguments


def position_of(row: asyncpg.Record) -> Position:
    return row["created_at"], row["id"]
