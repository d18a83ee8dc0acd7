import base64
import re
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from sentiment_k8s.database import Database
from sentiment_k8s.errors import RequestError
from sentiment_k8s.pages import BY_ID_AND_TIME, prediction, predictions
from sentiment_k8s.search import PAGE_BYTES, Filters
from sentiment_k8s.testing import example_row

from .log_rows import at, plan, texts
from .postgres_fixtures import execute


class TestPages:
    async def test_pages_neither_repeat_nor_miss_a_row_while_rows_come_in(
        self, database: Database
    ) -> None:
        await database.insert([example_row(str(number)) for number in range(10)])
        seen, cursor = [], None
        while True:
            rows, cursor = await predictions(database, limit=3, cursor=cursor)
            seen += [row["text"] for row in rows]
            await database.insert([example_row("newer")])
            if cursor is None:
                break
        assert seen == [str(number) for number in reversed(range(10))]

    async def test_rows_of_one_moment_are_paged_by_id(self, database: Database) -> None:
        moment = datetime.now(UTC).replace(microsecond=0)
        await database.insert([at(example_row(str(number)), moment) for number in range(7)])
        assert sorted(await texts(database)) == [str(number) for number in range(7)]

    async def test_a_full_last_page_has_no_next_one(self, database: Database) -> None:
        await database.insert([example_row(), example_row()])
        assert (await predictions(database, limit=2))[1] is None

    async def test_a_page_of_long_texts_ends_early_and_the_next_goes_on(
        self, database: Database
    ) -> None:
        most = 3 * PAGE_BYTES // 8
        await database.insert([example_row(str(n) + "ä" * (most // 2)) for n in range(7)])
        pages, cursor = [], None
        while True:
            rows, cursor = await predictions(database, limit=500, cursor=cursor)
            pages.append([row["text"][0] for row in rows])
            if cursor is None:
                break
        assert pages == [["6", "5", "4"], ["3", "2", "1"], ["0"]]

    async def test_a_text_longer_than_a_page_is_a_page(self, database: Database) -> None:
        await database.insert(
            [example_row("old"), example_row("x" * (PAGE_BYTES + 1)), example_row("new")]
        )
        lengths, cursor = [], None
        while True:
            rows, cursor = await predictions(database, cursor=cursor)
            lengths.append([len(row["text"]) for row in rows])
            if cursor is None:
                break
        assert lengths == [[3, PAGE_BYTES + 1], [3]]

    async def test_rows_are_filtered_by_label_and_time(self, database: Database) -> None:
        noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
        hour = timedelta(hours=1)
        await database.insert(
            [
                at(example_row(f"{label} {hours}", prediction=label), noon + hours * hour)
                for hours in range(4)
                for label in ("POSITIVE", "NEGATIVE")
            ]
        )
        assert await texts(
            database, label="NEGATIVE", since=noon + hour, until=noon + 3 * hour
        ) == ["NEGATIVE 2", "NEGATIVE 1"]
        assert await texts(database, label="neither") == []

    async def test_a_row_by_the_books_insert_has_nulls(
        self, database: Database, database_dsn: str
    ) -> None:
        await execute(database_dsn, "INSERT INTO predictions (text) VALUES ('by hand')")
        (row,), _ = await predictions(database)
        assert (row["text"], row["prediction"], row["scores"], row["model"]) == (
            ("by hand", None, None, None)
        )

    @pytest.mark.parametrize(
        "cursor",
        [
            "",
            "x",
            "not base64!",
            "ü",
            "AAAA",
            base64.urlsafe_b64encode(b"\x7f" * 24).decode(),
            base64.urlsafe_b64encode(b"\x80" * 24).decode(),
        ],
    )
    async def test_a_cursor_that_is_not_ours_is_refused(
        self, database: Database, cursor: str
    ) -> None:
        with pytest.raises(RequestError, match="cursor is not valid"):
            await predictions(database, cursor=cursor)

    @pytest.mark.parametrize("label", ["a\0b", "\ud800"])
    async def test_a_label_that_cannot_be_is_refused(self, database: Database, label: str) -> None:
        with pytest.raises(RequestError, match="check the filters"):
            await predictions(database, Filters(label=label))


class TestOneRow:
    @pytest.mark.parametrize("row_id", [uuid4(), UUID(int=0), UUID(int=2**128 - 1)])
    async def test_an_unknown_id_is_none(self, database: Database, row_id: UUID) -> None:
        assert await prediction(database, row_id) is None

    async def test_a_row_whose_time_was_set_by_hand_is_found(
        self, database: Database, database_dsn: str
    ) -> None:
        row = example_row()
        values = f"('{row.id}', 'x', '2020-01-01')"
        await execute(
            database_dsn, f"INSERT INTO predictions (id, text, created_at) VALUES {values}"
        )
        found = await prediction(database, row.id)
        assert found
        assert found["created_at"] == "2020-01-01T00:00:00.000Z"

    async def test_one_row_is_looked_up_in_one_week(self, database_dsn: str) -> None:
        row = example_row()
        found = await plan(database_dsn, BY_ID_AND_TIME, row.id, row.created_at)
        assert len(set(re.findall(r" on (predictions_\d+)", found))) == 1
