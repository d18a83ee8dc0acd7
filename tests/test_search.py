import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentiment_k8s.database import Database
from sentiment_k8s.pages import predictions
from sentiment_k8s.records import PredictionRow
from sentiment_k8s.search import PAGE_BYTES, ROWS_A_LOOK, Filters, newest_query, window_query
from sentiment_k8s.testing import example_row

from .log_rows import at, plan, texts
from .postgres_fixtures import execute

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)


def few_rows(most: int) -> st.SearchStrategy[list[PredictionRow]]:
    """Rows of which many are of the same millisecond."""
    row = st.builds(
        lambda millisecond, label, score, text: at(
            example_row(text, prediction=label, score=score),
            NOON + timedelta(milliseconds=millisecond),
        ),
        st.integers(0, 5),
        st.sampled_from(["POSITIVE", "NEGATIVE"]),
        st.sampled_from([0.25, 0.75]),
        st.sampled_from(["good food", "bad food"]),
    )
    return st.lists(row, max_size=most)


some_filters = st.sampled_from(
    [
        Filters(),
        Filters(label="POSITIVE"),
        Filters(min_score=0.5),
        Filters(text="good"),
        Filters(text="-good", max_score=0.5, label="NEGATIVE"),
        Filters(since=NOON + timedelta(milliseconds=1), until=NOON + timedelta(milliseconds=4)),
    ]
)


def passes(row: PredictionRow, filters: Filters) -> bool:
    """What the filters mean, in Python."""
    word = filters.text or ""
    return (
        (filters.label or row.prediction) == row.prediction
        and (filters.min_score or 0) <= row.score <= (filters.max_score or 1)
        and (filters.since or row.created_at) <= row.created_at
        and (filters.until is None or row.created_at < filters.until)
        and ((word in row.text) or (word[:1] == "-" and word[1:] not in row.text))
    )


@given(
    first=few_rows(12),
    others=st.lists(few_rows(5), max_size=4),
    limit=st.integers(1, 4),
    filters=some_filters,
)
@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_whatever_comes_in_between_pages_no_row_is_there_twice_and_none_is_missing(
    database: Database,
    first: list[PredictionRow],
    others: list[list[PredictionRow]],
    limit: int,
    filters: Filters,
) -> None:
    await database.write(lambda connection: connection.execute("TRUNCATE predictions"))
    await database.insert(first)
    seen: list[tuple[str, str]] = []
    cursor = None
    while True:
        rows, cursor = await predictions(database, filters, limit, cursor)
        seen += [(row["created_at"], row["id"]) for row in rows]
        if cursor is None:
            break
        await database.insert(others.pop() if others else [])
    assert seen == sorted(set(seen), reverse=True)
    assert {str(row.id) for row in first if passes(row, filters)} <= {row_id for _, row_id in seen}


class TestFilters:
    async def test_rows_are_filtered_by_model_and_score(self, database: Database) -> None:
        await database.insert(
            [
                example_row(f"{model} {score}", model=model, score=score)
                for model in ("old", "new")
                for score in (0.5, 0.6, 0.7, 0.8)
            ]
        )
        found = await texts(database, model="old", min_score=0.6, max_score=0.7)
        assert found == ["old 0.7", "old 0.6"]

    async def test_a_row_by_hand_passes_no_filter_of_what_it_lacks(
        self, database: Database, database_dsn: str
    ) -> None:
        await execute(database_dsn, "INSERT INTO predictions (text) VALUES ('by hand')")
        assert await texts(database, min_score=0.0) == await texts(database, model="") == []
        assert await texts(database, text="hand") == ["by hand"]

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("food", ["Food, and fun!", "So bad: the FOOD", "good food"]),
            ("FOOD good", ["good food"]),
            ('"bad the"', ["So bad: the FOOD"]),
            ("good or fun", ["Food, and fun!", "good food"]),
            ("food -bad", ["Food, and fun!", "good food"]),
            ("foo", []),
            ("fun!", ["Food, and fun!"]),
            ("don't", ["I don't care"]),
            ("user@example.com", ["mail user@example.com_now"]),
            ("Ünïcode", ["ünïcode ❤"]),
            ("%", []),
            ("!?", []),
            ("' OR 1=1 --", []),
        ],
    )
    async def test_texts_are_found_by_their_words(
        self, database: Database, query: str, found: list[str]
    ) -> None:
        kept = ["good food", "So bad: the FOOD", "Food, and fun!", "I don't care"]
        kept += ["mail user@example.com_now", "ünïcode ❤"]
        await database.insert([example_row(text) for text in kept])
        assert await texts(database, text=query) == found

    async def test_what_the_log_keeps_is_found_as_a_whole(self, database: Database) -> None:
        digests = [f"hmac-sha256:{number:064x}" for number in (2**250, 2**251)]
        await database.insert([example_row(digest) for digest in digests])
        assert await texts(database, kept=digests[0]) == digests[:1]
        assert await texts(database, kept="hmac-sha256") == []


async def many_rows(dsn: str, number: int) -> None:
    """Rows a minute apart, the newest of now, of which every thousandth has the word rare, every
    hundredth the word odd, and all have the word food. Each has its number as its score."""
    await execute(
        dsn,
        "INSERT INTO predictions (created_at, text, prediction, score)"
        " SELECT date_trunc('minute', now()) - n * interval '1 minute',"
        " 'food ' || CASE WHEN n % 1000 = 999 THEN 'rare' WHEN n % 100 = 99 THEN 'odd' ELSE '' END,"
        f" 'POSITIVE', n FROM generate_series(1, {number}) AS n",
        "ANALYZE predictions",
    )


async def pages(database: Database, filters: Filters, limit: int = 50) -> list[list[float]]:
    """The scores of the rows on each page."""
    found, cursor = [], None
    while True:
        rows, cursor = await predictions(database, filters, limit, cursor)
        found.append([row["score"] for row in rows])
        if cursor is None:
            return found


def flat(lists: Sequence[list[float]]) -> list[float]:
    return [number for numbers in lists for number in numbers]


class TestManyRows:
    async def test_rows_of_a_score_are_found_by_index_behind_many_others(
        self, database: Database, database_dsn: str
    ) -> None:
        number = 2 * ROWS_A_LOOK + 100
        await many_rows(database_dsn, number)
        found = await pages(database, Filters(min_score=ROWS_A_LOOK + 50))
        assert {len(page) for page in found[:-1]} == {50}
        assert flat(found) == list(range(ROWS_A_LOOK + 50, number + 1))
        assert await pages(database, Filters(max_score=0)) == [[]]

    async def test_rare_words_are_found_by_index_and_common_ones_among_the_newest(
        self, database: Database, database_dsn: str
    ) -> None:
        await many_rows(database_dsn, 20_000)
        rare = list(range(999, 20_001, 1000))
        assert await pages(database, Filters(text="rare")) == [rare]
        assert await pages(database, Filters(text="rare or never")) == [rare]
        since = datetime.now(UTC) - timedelta(minutes=5_500)
        assert await pages(database, Filters(text="rare", since=since)) == [rare[:5]]
        odd = [n for n in range(99, 20_001, 100) if n not in rare]
        for limit in (7, 50):
            found = await pages(database, Filters(text="odd"), limit)
            assert {len(page) for page in found[:-1]} == {limit}
            assert flat(found) == odd
        food = await pages(database, Filters(text="food"), 500)
        assert flat(food) == list(range(1, 20_001))

    async def test_common_words_beside_a_score_that_nothing_has_are_not_gone_through(
        self, database: Database, database_dsn: str
    ) -> None:
        await many_rows(database_dsn, 20_000)
        assert await pages(database, Filters(text="food", max_score=0)) == [[]]
        found = await pages(database, Filters(text="food", min_score=19_999))
        assert flat(found) == [19_999, 20_000]
        assert await pages(database, Filters(text="never")) == [[]]

    async def test_long_texts_with_a_rare_word_end_a_page_early(self, database: Database) -> None:
        long = "x" * (PAGE_BYTES // 3)
        await database.insert(
            [at(example_row(f"rare {n} {long}"), NOON - n * timedelta(days=1)) for n in range(9)]
        )
        await many_rows_of_today(database)
        rows, cursor = await predictions(database, Filters(text="rare"), 50)
        assert cursor is not None
        assert 3 <= len(rows) <= 6
        numbers = [row["text"][5] for row in rows]
        while cursor is not None:
            rows, cursor = await predictions(database, Filters(text="rare"), 50, cursor)
            numbers += [row["text"][5] for row in rows]
        assert numbers == list("012345678")


async def many_rows_of_today(database: Database) -> None:
    async def insert(connection: asyncpg.Connection) -> None:
        await connection.execute(
            "INSERT INTO predictions (created_at, text) SELECT now() + n * interval '1 ms', 'food'"
            " FROM generate_series(1, 5000) AS n"
        )

    await database.read(insert)


class TestPlans:
    """Only what is asked for is read, also when there are years of rows."""

    async def test_the_first_page_reads_the_newest_rows_by_index(self, database_dsn: str) -> None:
        await many_rows(database_dsn, 20_000)
        query, arguments, _ = newest_query(Filters(), 50, None)
        found = await plan(database_dsn, f"(ANALYZE) {query}", *arguments)
        assert "created_at_id_prediction_" in found
        assert "rows=20000" not in found

    async def test_a_later_page_leaves_out_the_weeks_after_it(self, database_dsn: str) -> None:
        row = example_row()
        query, arguments, _ = newest_query(Filters(), 50, (row.created_at, row.id))
        found = await plan(database_dsn, query, *arguments)
        # This week, and the rows of no week; not the four weeks ahead.
        assert len(set(re.findall(r" on (predictions_(?:\d+|default)) ", found))) == 2, found

    async def test_a_rare_label_is_found_by_index(self, database_dsn: str) -> None:
        query, arguments, _ = newest_query(Filters(label="RARE"), 50, None)
        found = await plan(database_dsn, query, *arguments)
        assert "prediction_created_at_id_idx" in found
        assert "Filter: (prediction" not in found

    async def test_words_in_a_window_of_time_are_found_by_the_full_text_index(
        self, database_dsn: str
    ) -> None:
        await many_rows(database_dsn, 20_000)
        row = at(example_row(), NOON)
        query, arguments = window_query(
            Filters(text="rare"), 50, NOON - timedelta(days=5), (row.created_at, row.id)
        )
        assert "words_idx" in await plan(database_dsn, query, *arguments)
