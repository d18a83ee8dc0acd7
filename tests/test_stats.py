import random
import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import fsum, log
from statistics import fmean

import pytest

from sentiment_k8s.database import Database
from sentiment_k8s.records import PredictionRow
from sentiment_k8s.stats import LOOK, stats
from sentiment_k8s.testing import example_row

from .log_rows import at, plan
from .postgres_fixtures import execute

SINCE = datetime(2026, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)


def some_rows(count: int, until: datetime, hours: int, seed: int) -> list[PredictionRow]:
    """Rows of three labels with any score, spread over the hours before a time."""
    chance = random.Random(seed)
    return [
        at(
            example_row(
                prediction=chance.choice(["A", "B", "B", "C"]), score=chance.random() ** 0.5
            ),
            until - timedelta(milliseconds=chance.randrange(1, hours * 3_600_000)),
        )
        for _ in range(count)
    ]


async def correct(dsn: str, row: PredictionRow, label: str) -> None:
    """Give feedback on a row."""
    await execute(
        dsn,
        "INSERT INTO feedback (prediction_id, predicted_at, label)"
        f" VALUES ('{row.id}', '{row.created_at.isoformat()}', '{label}')",
    )


def stability_index(counts: Sequence[int], reference: Sequence[int]) -> float:
    """Sum of (p - q) ln(p / q), with no share below one in ten thousand."""
    shares = [[max(n / sum(window), 0.0001) for n in window] for window in (counts, reference)]
    return fsum((p - q) * log(p / q) for p, q in zip(*shares, strict=True))


def histogram(rows: Sequence[PredictionRow], bins: int) -> list[int]:
    counts = Counter(min(int(row.score * bins), bins - 1) for row in rows)
    return [counts[number] for number in range(bins)]


class TestCounts:
    async def test_rows_are_counted_by_label_and_time(
        self, database: Database, database_dsn: str
    ) -> None:
        minutes = [0, 59, 60, 179, 180, -1]  # the last two lie outside
        await database.insert([at(example_row(), SINCE + timedelta(minutes=m)) for m in minutes])
        await database.insert([at(example_row(prediction="NEGATIVE", score=0.5), SINCE)])
        await execute(
            database_dsn,
            "INSERT INTO predictions (text, created_at) VALUES ('no label', '2026-01-05')",
            "INSERT INTO predictions (text, prediction, created_at)"
            " VALUES ('no score', 'POSITIVE', '2026-01-05')",
        )
        found = await stats(database, SINCE, SINCE + 3 * HOUR, buckets=3)
        assert {name: found[name] for name in list(found)[:6]} == {
            "since": "2026-01-05T00:00:00.000Z",
            "until": "2026-01-05T03:00:00.000Z",
            "bucket_seconds": 3600,
            "buckets": [
                {
                    "start": "2026-01-05T00:00:00.000Z",
                    "counts": {"NEGATIVE": 1, "POSITIVE": 3},
                    "mean_scores": {"NEGATIVE": 0.5, "POSITIVE": 0.75},
                },
                {
                    "start": "2026-01-05T01:00:00.000Z",
                    "counts": {"POSITIVE": 1},
                    "mean_scores": {"POSITIVE": 0.75},
                },
                {
                    "start": "2026-01-05T02:00:00.000Z",
                    "counts": {"POSITIVE": 1},
                    "mean_scores": {"POSITIVE": 0.75},
                },
            ],
            "totals": {"NEGATIVE": 1, "POSITIVE": 5},
            "mean_scores": {"NEGATIVE": 0.5, "POSITIVE": 0.75},
        }

    async def test_widths_that_do_not_divide_lose_no_row(self, database: Database) -> None:
        seconds = timedelta(seconds=1)
        await database.insert([at(example_row(), SINCE + n * seconds) for n in range(10)])
        counted = await stats(database, SINCE, SINCE + 10 * seconds, buckets=7)
        assert sum(bucket["counts"].get("POSITIVE", 0) for bucket in counted["buckets"]) == 10
        assert len(counted["buckets"]) == 7

    async def test_an_empty_log_has_every_bucket_and_bin_and_no_figures(
        self, database: Database
    ) -> None:
        found = await stats(database, SINCE, SINCE + HOUR, 2, reference=HOUR)
        assert [bucket["counts"] for bucket in found["buckets"]] == [{}, {}]
        assert found["feedback"] == {
            "count": 0,
            "accuracy": None,
            "calibration_error": None,
            "bins": [
                {
                    "from": tenth / 10,
                    "to": (tenth + 1) / 10,
                    "count": 0,
                    "mean_score": None,
                    "accuracy": None,
                }
                for tenth in range(10)
            ],
        }
        drift = found["drift"]
        assert (drift["label_psi"], drift["score_psi"], drift["labels"]) == (None, None, [])
        assert len(drift["scores"]) == 20


async def test_figures_are_those_that_python_computes(
    database: Database, database_dsn: str
) -> None:
    until = SINCE + 24 * HOUR
    now = some_rows(400, until, 24, seed=1)
    before = some_rows(900, SINCE, 48, seed=2)
    await database.insert([*now, *before, at(example_row(), SINCE - 49 * HOUR)])
    judged = {row.id: label for row, label in zip(now[:150], "ABC" * 50, strict=True)}
    for row in now[:150]:
        await correct(database_dsn, row, judged[row.id])
    await correct(database_dsn, before[0], "A")  # outside the window
    found = await stats(database, SINCE, until, 24, reference=48 * HOUR)

    for number, bucket in enumerate(found["buckets"]):
        start = SINCE + number * HOUR
        of_bucket = [row for row in now if start <= row.created_at < start + HOUR]
        assert bucket["counts"] == Counter(row.prediction for row in of_bucket)
    for label in "ABC":
        scores = [row.score for row in now if row.prediction == label]
        assert found["totals"][label] == len(scores)
        assert found["mean_scores"][label] == pytest.approx(fmean(scores))

    drift = found["drift"]
    assert (drift["count"], drift["reference"]["count"]) == (400, 900)
    labels = [Counter(row.prediction for row in rows) for rows in (now, before)]
    assert drift["labels"] == [
        {"label": label, "share": labels[0][label] / 400, "reference_share": labels[1][label] / 900}
        for label in "ABC"
    ]
    counts = [[of_labels[label] for label in "ABC"] for of_labels in labels]
    assert drift["label_psi"] == pytest.approx(stability_index(counts[0], counts[1]))
    shares = [histogram(now, 20), histogram(before, 20)]
    assert [score["share"] for score in drift["scores"]] == [n / 400 for n in shares[0]]
    assert drift["score_psi"] == pytest.approx(stability_index(shares[0], shares[1]))

    feedback = found["feedback"]
    right = {row.id: row.prediction == judged[row.id] for row in now[:150]}
    assert feedback["count"] == 150
    assert feedback["accuracy"] == pytest.approx(fmean(right.values()))
    error = 0.0
    for number, expected in enumerate(histogram(now[:150], 10)):
        of_bin = [row for row in now[:150] if min(int(row.score * 10), 9) == number]
        bin_ = feedback["bins"][number]
        assert bin_["count"] == expected == len(of_bin)
        if of_bin:
            accuracy = fmean(right[row.id] for row in of_bin)
            mean_score = fmean(row.score for row in of_bin)
            assert bin_["accuracy"] == pytest.approx(accuracy)
            assert bin_["mean_score"] == pytest.approx(mean_score)
            error += len(of_bin) / 150 * abs(accuracy - mean_score)
    assert feedback["calibration_error"] == pytest.approx(error)


async def test_a_label_that_is_new_makes_the_index_large_but_finite(database: Database) -> None:
    await database.insert(
        [at(example_row(prediction="OLD", score=1.0), SINCE - HOUR) for _ in range(50)]
    )
    await database.insert([at(example_row(prediction="NEW", score=1.0), SINCE) for _ in range(50)])
    drift = (await stats(database, SINCE, SINCE + HOUR, 1, reference=HOUR))["drift"]
    assert drift["label_psi"] == pytest.approx(stability_index([50, 0], [0, 50]))
    assert drift["score_psi"] == pytest.approx(0)


async def test_feedback_on_a_row_that_is_gone_counts_no_more(
    database: Database, database_dsn: str
) -> None:
    await correct(database_dsn, at(example_row(), SINCE), "POSITIVE")
    assert (await stats(database, SINCE, SINCE + HOUR, 1))["feedback"]["count"] == 0


async def test_only_the_weeks_asked_for_are_read_by_index(database_dsn: str) -> None:
    now = datetime.now(UTC)
    found = await plan(database_dsn, LOOK, now - HOUR, now, [now])
    assert "Seq Scan" not in found
    assert len(set(re.findall(r" on (predictions_\d+)", found))) <= 2
