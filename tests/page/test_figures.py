"""The log in figures: counts, mean scores, accuracy and drift, against a log that was filled."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from ..postgres_fixtures import execute, run
from ..serving import RunningServer, running_server
from .browser import Visitor
from .visits import classify, faults_that_axe_finds, visiting

# 400 rows over the last 20 hours, most of them positive, and 400 of the days before, half of them.
# Thirty-nine of the first have feedback, which every fourth of these contradicts.
FILL = """
INSERT INTO predictions (id, created_at, text, prediction, score, scores)
SELECT sentiment_uuidv7(at), at, 'Text ' || n, label, score, jsonb_build_object(
    label, score, CASE label WHEN 'POSITIVE' THEN 'NEGATIVE' ELSE 'POSITIVE' END, 1 - score)
FROM (
    SELECT n, date_trunc('milliseconds', now()) - n * interval '3 minutes'
            - CASE WHEN n > 400 THEN interval '6 hours' ELSE '0' END AS at,
        CASE WHEN n % CASE WHEN n > 400 THEN 2 ELSE 4 END = 0 THEN 'NEGATIVE' ELSE 'POSITIVE' END
            AS label,
        CASE WHEN n % CASE WHEN n > 400 THEN 2 ELSE 4 END = 0 THEN 0.65 ELSE 0.95 END AS score
    FROM generate_series(1, 800) AS n
) AS made
"""
JUDGE = """
INSERT INTO feedback (prediction_id, predicted_at, label)
SELECT id, created_at, 'POSITIVE' FROM predictions
WHERE text IN (SELECT 'Text ' || n FROM generate_series(61, 99) AS n)
"""


# Before any browser: while one runs, no other event loop can in this thread.
@pytest.fixture(scope="module", autouse=True)
def filled_server(
    new_database: Callable[[str], str], migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    dsn = new_database(migrated)
    run(execute(dsn, FILL, JUDGE))
    with running_server(tmp_path_factory.mktemp("data"), DATABASE_URL=dsn) as running:
        yield running


@pytest.fixture
def visitor(browser: Browser, filled_server: RunningServer) -> Iterator[Visitor]:
    with visiting(browser, filled_server) as visitor:
        yield visitor


@pytest.fixture
def stats(page: Page, visitor: Visitor) -> dict[str, Any]:
    expect(figure(page, "Predictions")).not_to_have_text("–")
    answer: dict[str, Any] = page.request.get(f"{visitor.origin}/stats?hours=24&buckets=24").json()
    return answer


def tab(page: Page, name: str) -> Locator:
    return page.get_by_role("tab", name=name)


def figure(page: Page, name: str) -> Locator:
    return tab(page, name).locator("strong")


def cells(page: Page, name: str) -> list[list[str]]:
    """The rows of a chart's table, without its head."""
    table = page.locator(f"#{name}-table tbody")
    found: list[list[str]] = table.evaluate(
        "body => [...body.rows].map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return found


def test_the_counts_are_those_of_the_server(page: Page, stats: dict[str, Any]) -> None:
    total = sum(stats["totals"].values())
    expect(figure(page, "Predictions")).to_have_text(f"{total:,}")
    for label, count in stats["totals"].items():
        legend = page.locator("#counts-legend li").filter(has_text=label)
        expect(legend).to_contain_text(f"{count:,}")
        expect(page.get_by_role("img", name="A chart of")).to_have_accessible_name(
            re.compile(rf"{re.escape(label)} {count:,}\b")
        )
    assert page.locator("#counts-chart path").count() > 0


def test_what_was_just_sent_is_counted(page: Page, stats: dict[str, Any]) -> None:
    before = sum(stats["totals"].values())
    classify(page, "A fine film.")
    expect(figure(page, "Predictions")).to_have_text(f"{before + 1:,}")


def test_the_chart_is_also_a_table(page: Page, stats: dict[str, Any]) -> None:
    page.get_by_text("Show as a table").filter(visible=True).click()
    rows = page.get_by_role("region", name="Predictions by time and label").locator("tbody tr")
    expect(rows).to_have_count(24)
    total = sum(int(row[-1].replace(",", "")) for row in cells(page, "counts"))
    assert total == sum(stats["totals"].values())


def test_another_time_can_be_shown(page: Page) -> None:
    page.get_by_label("Time shown").select_option("Last 7 days")
    expect(page.locator("#counts-table tbody tr")).to_have_count(28)
    expect(figure(page, "Predictions")).to_have_text(re.compile("^80[0-9]$"))


def test_the_bar_under_the_pointer_is_put_in_words(page: Page, stats: dict[str, Any]) -> None:
    page.locator("#counts-chart .slot").nth(12).hover()
    bucket = stats["buckets"][12]["counts"]
    words = ", ".join(f"{label} {count}" for label, count in sorted(bucket.items()))
    expect(page.locator("#counts-readout")).to_have_text(re.compile(f": {words}$"))


def test_tabs_are_changed_by_arrow_keys(page: Page) -> None:
    tab(page, "Predictions").focus()
    for name in ("Mean score", "Accuracy", "Drift", "Predictions"):
        page.keyboard.press("ArrowRight")
        expect(tab(page, name)).to_be_focused()
        expect(tab(page, name)).to_have_attribute("aria-selected", "true")
        expect(page.get_by_role("tabpanel", name=name)).to_be_visible()
        expect(page.get_by_role("tabpanel")).to_have_count(1)


def test_mean_scores_are_those_of_the_server(page: Page, stats: dict[str, Any]) -> None:
    tab(page, "Mean score").click()
    means = [f"{label} {mean:.1%}" for label, mean in sorted(stats["mean_scores"].items())]
    chart = page.get_by_role("img", name="mean score over time")
    expect(chart).to_have_accessible_name(re.compile(", ".join(means)))
    total = sum(stats["totals"].values())
    overall = sum(mean * stats["totals"][of] for of, mean in stats["mean_scores"].items()) / total
    expect(figure(page, "Mean score")).to_have_text(f"{overall:.1%}")
    # A time without predictions has no mean, and no point.
    buckets = stats["buckets"]
    points = sum(len(bucket["mean_scores"]) for bucket in buckets)
    expect(page.locator("#means-chart circle")).to_have_count(points)
    assert [row[1] for row in cells(page, "means")] == [
        f"{mean:.1%}" if (mean := bucket["mean_scores"].get("NEGATIVE")) else ""
        for bucket in buckets
    ]


def test_accuracy_and_calibration_come_from_feedback(page: Page, stats: dict[str, Any]) -> None:
    tab(page, "Accuracy").click()
    feedback = stats["feedback"]
    assert feedback["count"] == 39
    expect(figure(page, "Accuracy")).to_have_text(f"{feedback['accuracy']:.1%}")
    words = page.locator("#quality-words")
    expect(words).to_contain_text(f"{feedback['accuracy']:.1%} of 39 predictions with feedback")
    expect(words).to_contain_text(f"The calibration error is {feedback['calibration_error']:.1%}")


def test_the_reliability_diagram_has_a_point_for_every_bin_with_feedback(
    page: Page, stats: dict[str, Any]
) -> None:
    tab(page, "Accuracy").click()
    bins = [part for part in stats["feedback"]["bins"] if part["count"]]
    expect(page.locator("#quality-chart circle")).to_have_count(len(bins))
    diagram = page.get_by_role("img", name="A reliability diagram")
    for part in bins:
        expect(diagram).to_have_accessible_name(
            re.compile(f"{part['accuracy']:.1%} of {part['count']} right")
        )
    assert len(cells(page, "quality")) == len(stats["feedback"]["bins"])


def test_a_time_without_feedback_says_how_to_give_some(page: Page) -> None:
    page.get_by_label("Time shown").select_option("Last hour")
    tab(page, "Accuracy").click()
    expect(figure(page, "Accuracy")).to_have_text("–")
    expect(page.locator("#quality-none")).to_contain_text("say which label is right")


def test_drift_is_told_with_its_meaning(page: Page, stats: dict[str, Any]) -> None:
    tab(page, "Drift").click()
    expect(figure(page, "Drift")).to_have_text("Changed")
    for part in ("label", "score"):
        verdict = page.locator(f"#drift-{part}-psi")
        expect(verdict).to_have_text(f"PSI {stats['drift'][f'{part}_psi']:.2f}, changed")
    for row in stats["drift"]["labels"]:
        words = f"{row['share']:.1%}, before {row['reference_share']:.1%}"
        expect(page.locator("#drift-labels li").filter(has_text=row["label"])).to_contain_text(
            words
        )
        assert [row["label"], f"{row['share']:.1%}", f"{row['reference_share']:.1%}"] in cells(
            page, "drift"
        )
    expect(page.get_by_role("img", name="beside the reference")).to_be_visible()


def test_the_reference_can_be_another(page: Page, visitor: Visitor) -> None:
    tab(page, "Drift").click()
    page.get_by_label("Compared with").select_option("24 hours before")
    query = "hours=24&buckets=24&reference_hours=24"
    reference = page.request.get(f"{visitor.origin}/stats?{query}").json()["drift"]["reference"]
    expect(page.locator("#drift-words")).to_contain_text(f"{reference['count']} in the reference")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_tab_is_for_everybody_also_on_a_phone(visitor: Visitor, dark: bool) -> None:
    page = visitor.open(width=360, dark=dark)
    for name in ("Predictions", "Mean score", "Accuracy", "Drift"):
        tab(page, name).click()
        expect(page.get_by_role("tabpanel").get_by_role("img")).to_be_visible()
        page.get_by_text("Show as a table").filter(visible=True).click()
        assert faults_that_axe_finds(page) == ""
        assert page.evaluate("document.documentElement.scrollWidth") == 360


@pytest.mark.parametrize(
    ("psi", "count", "word"),
    [
        (0.05, 10_000, "Stable"),
        (0.1, 10_000, "Look"),
        (0.25, 10_000, "Look"),
        (0.26, 10_000, "Changed"),
        (0.26, 20, "Too few"),  # of two samples of 20, every twentieth pair is that far apart
        (2.0, 20, "Changed"),
        (None, 0, "–"),
    ],
)
def test_the_stability_index_means_what_is_the_custom_unless_chance_could_make_it(
    open_page: Page, psi: float | None, count: int, word: str
) -> None:
    labels = [{"share": 0.5, "reference_share": 0.5}] * 2
    drift = {
        "label_psi": psi,
        "score_psi": None,
        "labels": labels,
        "scores": [],
        "count": count,
        "reference": {"count": count},
    }
    told = open_page.evaluate(
        "async (drift) => (await import('/page/drift.js')).headline({ drift })", drift
    )
    assert told == word
