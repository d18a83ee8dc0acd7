"""The log in figures, all of them computed by PostgreSQL: one pass over the rows, one over the
feedback.

Sources: expected calibration error in bins of equal width from Naeini et al., "Obtaining Well
Calibrated Probabilities Using Bayesian Binning" (AAAI 2015), and Guo et al., "On Calibration of
Modern Neural Networks" (ICML 2017); population stability index from Siddiqi, "Credit Risk
Scorecards" (2006), with the distribution of its values in Yurdakul and Naranjo, "Statistical
Properties of the Population Stability Index" (2020).
"""

import json
from datetime import datetime, timedelta
from typing import Any

from .connections import Connection
from .database import Database
from .records import iso

SCORE_BINS = 20  # of the drift: scores of two labels lie in the upper half
CALIBRATION_BINS = 10
# A share below this counts as this much in the index, which an empty bin would make infinite.
LEAST_SHARE = 0.0001
NO_FEEDBACK: dict[str, Any] = {"count": 0, "mean_score": None, "accuracy": None}
NO_SHARES: dict[str, Any] = {"share": 0.0, "reference_share": 0.0}

# Bucket 0 is the reference window, 1 is the first of the buckets whose starts are $3. A score of 1
# belongs to the last bin; no score, to none (unlike `least`, which overlooks a null).
COUNTED = f"""
SELECT width_bucket(created_at, $3::timestamptz[]) AS bucket, prediction AS label,
    floor(score * {SCORE_BINS})::int - (score = 1)::int AS bin,
    count(*) AS count, sum(score) AS score
FROM predictions
WHERE created_at >= $1 AND created_at < $2 AND prediction IS NOT NULL
GROUP BY 1, 2, 3
"""  # noqa: S608  # only numbers of ours


def _shares_by(part: str) -> str:
    return f"""
    SELECT {part}, coalesce(count / nullif(sum(count) OVER (), 0), 0)::float8 AS share,
        coalesce(reference_count / nullif(sum(reference_count) OVER (), 0), 0)::float8
            AS reference_share
    FROM (
        SELECT {part}, coalesce(sum(count) FILTER (WHERE bucket > 0), 0) AS count,
            coalesce(sum(count) FILTER (WHERE bucket = 0), 0) AS reference_count
        FROM counted WHERE {part} IS NOT NULL GROUP BY 1
    ) AS parts
    ORDER BY 1
    """  # noqa: S608  # the names of columns are ours


def _stability_index_of(shares: str) -> str:
    """Sum over the bins of (share - reference share) * ln(share / reference share)."""
    share, reference = (f"greatest({of}, {LEAST_SHARE})" for of in ("share", "reference_share"))
    return f"""
    SELECT sum(({share} - {reference}) * ln({share} / {reference})) FROM {shares}
    HAVING sum(share) > 0 AND sum(reference_share) > 0
    """  # noqa: S608


# A row without a bucket is of the whole window.
LOOK = f"""
WITH counted AS MATERIALIZED ({COUNTED}),
cells AS (
    SELECT bucket, label, sum(count) AS count,
        sum(score) / sum(count) FILTER (WHERE bin IS NOT NULL) AS mean_score
    FROM counted WHERE bucket > 0 GROUP BY GROUPING SETS ((bucket, label), (label))
    ORDER BY label
),
labels AS ({_shares_by("label")}),
scores AS ({_shares_by("bin")})
SELECT json_build_object(
    'cells', (SELECT coalesce(json_agg(cells), '[]') FROM cells),
    'count', (SELECT coalesce(sum(count) FILTER (WHERE bucket > 0), 0) FROM counted),
    'reference_count', (SELECT coalesce(sum(count) FILTER (WHERE bucket = 0), 0) FROM counted),
    'labels', (SELECT coalesce(json_agg(labels), '[]') FROM labels),
    'scores', (SELECT coalesce(json_agg(scores), '[]') FROM scores),
    'label_psi', ({_stability_index_of("labels")}),
    'score_psi', ({_stability_index_of("scores")})
)
"""  # noqa: S608

# A row without a score is right or wrong, but says nothing of calibration.
JUDGED = f"""
WITH bins AS (
    SELECT floor(p.score * {CALIBRATION_BINS})::int - (p.score = 1)::int AS bin,
        count(*) AS count, avg(p.score) AS mean_score,
        avg((p.prediction = f.label)::int::float8) AS accuracy
    FROM feedback AS f
    JOIN predictions AS p ON p.id = f.prediction_id AND p.created_at = f.predicted_at
    WHERE f.predicted_at >= $1 AND f.predicted_at < $2
    AND p.created_at >= $1 AND p.created_at < $2 AND p.prediction IS NOT NULL
    GROUP BY 1
)
SELECT json_build_object(
    'count', coalesce(sum(count), 0),
    'accuracy', sum(count * accuracy) / sum(count),
    'calibration_error', sum(count * abs(accuracy - mean_score)) FILTER (WHERE bin IS NOT NULL)
        / sum(count) FILTER (WHERE bin IS NOT NULL),
    'bins', coalesce(json_agg(bins) FILTER (WHERE bin IS NOT NULL), '[]')
)
FROM bins
"""  # noqa: S608


async def stats(
    database: Database,
    since: datetime,
    until: datetime,
    buckets: int,
    reference: timedelta = timedelta(0),
) -> dict[str, Any]:
    """Counts and mean scores by label over time, how right the answers were where there is
    feedback, and how far labels and scores are from those of the time before; fit for JSON.

    Args:
        database: the log.
        since: start of the first bucket, with a time zone.
        until: end of the last one.
        buckets: how many of equal width.
        reference: how much time before `since` the window is compared with.
    """
    width = (until - since) / buckets
    starts = [since + bucket * width for bucket in range(buckets)]

    async def fetch(connection: Connection) -> tuple[str, str]:
        look = await connection.fetchval(LOOK, since - reference, until, starts)
        return look, await connection.fetchval(JUDGED, since, until)

    look, judged = map(json.loads, await database.read(fetch))
    seconds = width.total_seconds()
    return {
        "since": iso(since),
        "until": iso(until),
        "bucket_seconds": int(seconds) if seconds.is_integer() else seconds,
        "buckets": [
            {
                "start": iso(start),
                "counts": _by_label(look["cells"], bucket, "count"),
                "mean_scores": _by_label(look["cells"], bucket, "mean_score"),
            }
            for bucket, start in enumerate(starts, start=1)
        ],
        "totals": _by_label(look["cells"], None, "count"),
        "mean_scores": _by_label(look["cells"], None, "mean_score"),
        "feedback": judged | {"bins": _histogram(judged["bins"], NO_FEEDBACK, CALIBRATION_BINS)},
        "drift": {
            "reference": {
                "since": iso(since - reference),
                "until": iso(since),
                "count": look["reference_count"],
            },
            "count": look["count"],
            "label_psi": look["label_psi"],
            "score_psi": look["score_psi"],
            "labels": look["labels"],
            "scores": _histogram(look["scores"], NO_SHARES, SCORE_BINS),
        },
    }


def _by_label(cells: list[dict[str, Any]], bucket: int | None, figure: str) -> dict[str, Any]:
    return {
        cell["label"]: cell[figure]
        for cell in cells
        if cell["bucket"] == bucket and cell[figure] is not None
    }


def _histogram(
    found: list[dict[str, Any]], empty: dict[str, Any], bins: int
) -> list[dict[str, Any]]:
    """All bins of the scores from 0 to 1, those without rows too."""
    by_number = {row.pop("bin"): row for row in found}
    return [
        {"from": number / bins, "to": (number + 1) / bins} | empty | by_number.get(number, {})
        for number in range(bins)
    ]
