import re

from playwright.sync_api import Page, expect

from .browser import Visitor
from .visits import classify, classify_lines


def test_the_chart_has_the_counts_of_the_server(page: Page, visitor: Visitor) -> None:
    classify_lines(page, ["Wonderful, moving and wise.", "Dull, stupid and far too long."])
    stats = page.request.get(f"{visitor.origin}/stats?hours=24&buckets=24").json()
    total = sum(stats["totals"].values())
    expect(page.locator("#counts-figure")).to_have_text(f"{total:,}")
    for label, count in stats["totals"].items():
        legend = page.locator("#counts-legend li").filter(has_text=label)
        expect(legend).to_contain_text(f"{count:,}")
        expect(page.get_by_role("img", name="A chart of")).to_have_accessible_name(
            re.compile(rf"{re.escape(label)} {count:,}\b")
        )
    assert page.locator("#counts-chart path").count() > 0


def test_the_chart_is_also_a_table(page: Page) -> None:
    classify(page, "A fine film.")
    expect(page.locator("#counts-table tbody tr")).to_have_count(24)
    page.get_by_text("Show as a table").filter(visible=True).click()
    # In one step, or a poll could come between the two.
    cells, total = page.evaluate(
        """() => [
            [...document.querySelectorAll("#counts-table td:last-child")].map(
                cell => cell.innerText
            ),
            document.querySelector("#counts-figure").innerText,
        ]"""
    )
    assert sum(int(cell.replace(",", "")) for cell in cells) == int(total.replace(",", ""))


def test_the_chart_can_show_another_time(page: Page) -> None:
    classify(page, "A fine film.")
    page.get_by_label("Time shown").select_option("Last 7 days")
    expect(page.locator("#counts-table tbody tr")).to_have_count(28)
