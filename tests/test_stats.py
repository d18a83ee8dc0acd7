from datetime import UTC, datetime, timedelta

from sentiment_k8s.database import Database
from sentiment_k8s.stats import COUNT, stats
from sentiment_k8s.testing import example_row

from .log_rows import at, plan
from .postgres_fixtures import execute


class TestStats:
    async def test_rows_are_counted_by_label_and_time(
        self, database: Database, database_dsn: str
    ) -> None:
        since = datetime(2026, 1, 5, tzinfo=UTC)
        minutes = [0, 59, 60, 179, 180, -1]  # the last two lie outside
        await database.insert([at(example_row(), since + timedelta(minutes=m)) for m in minutes])
        await database.insert([at(example_row(prediction="NEGATIVE"), since)])
        await execute(
            database_dsn,
            "INSERT INTO predictions (text, created_at) VALUES ('no label', '2026-01-05')",
        )
        assert await stats(database, since, since + timedelta(hours=3), buckets=3) == {
            "since": "2026-01-05T00:00:00.000Z",
            "until": "2026-01-05T03:00:00.000Z",
            "bucket_seconds": 3600,
            "buckets": [
                {"start": "2026-01-05T00:00:00.000Z", "counts": {"POSITIVE": 2, "NEGATIVE": 1}},
                {"start": "2026-01-05T01:00:00.000Z", "counts": {"POSITIVE": 1}},
                {"start": "2026-01-05T02:00:00.000Z", "counts": {"POSITIVE": 1}},
            ],
            "totals": {"POSITIVE": 4, "NEGATIVE": 1},
        }

    async def test_widths_that_do_not_divide_lose_no_row(self, database: Database) -> None:
        since = datetime(2026, 1, 5, tzinfo=UTC)
        seconds = timedelta(seconds=1)
        await database.insert([at(example_row(), since + n * seconds) for n in range(10)])
        counted = await stats(database, since, since + 10 * seconds, buckets=7)
        assert sum(bucket["counts"].get("POSITIVE", 0) for bucket in counted["buckets"]) == 10
        assert len(counted["buckets"]) == 7

    async def test_counts_come_from_the_index_alone(self, database_dsn: str) -> None:
        now = datetime.now(UTC)
        hour = timedelta(hours=1)
        found = await plan(database_dsn, COUNT, now - 24 * hour, now, hour)
        assert "Index Only Scan" in found or "Bitmap Index Scan" in found
        assert "Seq Scan" not in found
