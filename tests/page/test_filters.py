"""Which rows of the log are shown, and downloaded."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from .browser import Visitor
from .visits import classify, classify_lines, refuse, unique

DOWNLOAD = re.compile(r"/predictions\?$")  # of all rows


def shown(page: Page) -> Locator:
    return page.locator("#latest-rows .row-text")


def search(page: Page, words: str) -> None:
    page.get_by_label("Words in the text").fill(words)
    page.keyboard.press("Enter")


@pytest.fixture
def marked(page: Page) -> str:
    """A word that only two texts of the log have, one of them liked, one not."""
    word = unique("word").replace(" ", "")
    classify_lines(page, [f"Wonderful, moving and wise {word}.", f"Dull, stupid and bad {word}."])
    return word


def test_rows_are_found_by_words_of_their_text(page: Page, marked: str) -> None:
    classify(page, unique("Something else."))
    search(page, f"{marked} wonderful")
    expect(shown(page)).to_have_text([f"Wonderful, moving and wise {marked}."])
    search(page, marked)
    expect(shown(page)).to_have_count(2)


def test_rows_are_found_by_label_and_score_and_model(page: Page, marked: str) -> None:
    search(page, marked)
    expect(shown(page)).to_have_count(2)
    best = page.locator("#latest-rows .row-label .tag").first.inner_text()
    page.get_by_label("Label", exact=True).select_option(best)
    expect(shown(page)).to_have_count(1)
    page.get_by_text("More filters").click()
    page.get_by_label("Lowest score").fill("50")
    page.get_by_label("Highest score").fill("100")
    page.get_by_label("Model").fill("bundled")
    page.keyboard.press("Tab")
    expect(shown(page)).to_have_count(1)
    page.get_by_label("Highest score").fill("50.1")
    page.keyboard.press("Tab")
    expect(page.locator("#latest-empty")).to_have_text("No prediction is like that.")
    page.get_by_label("Highest score").fill("100")
    page.get_by_label("Model").fill("another")
    page.keyboard.press("Tab")
    expect(shown(page)).to_have_count(0)


def test_rows_are_found_by_time_in_the_readers_own_zone(page: Page, marked: str) -> None:
    search(page, marked)
    expect(shown(page)).to_have_count(2)
    page.get_by_text("More filters").click()
    page.get_by_label("Until").fill("2026-01-01T00:00")
    page.keyboard.press("Tab")
    expect(shown(page)).to_have_count(0)
    page.get_by_label("Until").fill("2999-12-31T23:59")
    page.get_by_label("From").fill("2026-01-01T00:00")
    with page.expect_request("**/predictions?*since=*") as waiting:
        page.keyboard.press("Tab")
    zone = page.evaluate("new Date('2026-01-01T00:00').toISOString()")
    assert f"since={zone.replace(':', '%3A')}" in waiting.value.url
    expect(shown(page)).to_have_count(2)


def test_the_filters_are_cleared_at_once(page: Page, marked: str) -> None:
    search(page, marked)
    expect(shown(page)).to_have_count(2)
    classify(page, text := unique("Something else."))
    page.get_by_role("button", name="Clear the filters").click()
    expect(shown(page).filter(has_text=text)).to_have_count(1)
    expect(page.get_by_label("Words in the text")).to_be_focused()
    expect(page.get_by_role("button", name="Clear the filters")).to_be_hidden()


def test_a_filter_that_the_server_does_not_take_is_answered_in_its_words(visitor: Visitor) -> None:
    visitor.faults = True
    page = visitor.open()
    classify(page, "A fine film.")
    expect(shown(page)).not_to_have_count(0)
    page.route("**/predictions?*text=*", lambda route: refuse(route, 400, "Not this word."))
    search(page, "word")
    expect(page.locator("#latest-status")).to_have_text("Not this word.")
    expect(shown(page)).to_have_count(0)


def test_older_rows_are_fetched_by_cursor_and_stay_when_new_ones_come(
    page: Page, visitor: Visitor
) -> None:
    word = unique("old").replace(" ", "")
    classify_lines(page, [f"{word} {number}" for number in range(50)])
    search(page, word)
    expect(shown(page)).to_have_count(20)
    older = page.get_by_role("button", name="Show older")
    older.click()
    expect(shown(page)).to_have_count(40)
    page.request.post(f"{visitor.origin}/predict", data={"text": f"{word} new"})
    expect(shown(page)).to_have_count(41)
    older.click()
    expect(shown(page)).to_have_count(51)
    expect(older).to_be_hidden()
    expected = {f"{word} {number}" for number in range(50)} | {f"{word} new"}
    assert set(shown(page).all_inner_texts()) == expected


def downloaded(page: Page, kind: str) -> str:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=f"Download as {kind}", exact=True).click()
    assert waiting.value.suggested_filename == f"predictions.{kind.lower()}"
    expect(page.locator("#download-status")).to_have_text(re.compile(r"^Downloaded .* k?B\.$"))
    return Path(waiting.value.path()).read_text(encoding="utf-8-sig")


def test_what_the_filters_show_is_downloaded(page: Page, marked: str) -> None:
    search(page, marked)
    expect(shown(page)).to_have_count(2)
    rows = list(csv.DictReader(io.StringIO(downloaded(page, "CSV"), newline="")))
    lines = [json.loads(line) for line in downloaded(page, "NDJSON").splitlines()]
    ids = [row["id"] for row in rows]
    assert ids == [line["id"] for line in lines]
    assert len(ids) == 2
    assert {line["text"] for line in lines} == set(shown(page).all_inner_texts())


def test_a_download_can_be_cancelled(page: Page) -> None:
    page.route(DOWNLOAD, lambda route: None)  # it never answers
    page.get_by_role("button", name="Download as CSV").click()
    page.get_by_role("button", name="Cancel").and_(page.locator(":focus")).click()
    expect(page.locator("#download-status")).to_have_text("Cancelled.")
    expect(page.get_by_role("button", name="Download as CSV")).to_be_focused()


def test_a_download_that_is_refused_says_why(visitor: Visitor) -> None:
    visitor.faults = True
    page = visitor.open()
    page.locator("#latest").wait_for()
    page.route(DOWNLOAD, lambda route: refuse(route, 503, "PostgreSQL is away."))
    page.get_by_role("button", name="Download as CSV").click()
    expect(page.locator("#download-status")).to_have_text("PostgreSQL is away.")
