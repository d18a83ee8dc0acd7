"""The log's rows, and whether they may be read."""

import re
import uuid
from pathlib import Path

from playwright.sync_api import Browser, Page, Route, expect

from ..serving import running_server
from .browser import Visitor
from .visits import classify, classify_lines, labels, refuse, unique, visiting


def test_the_latest_predictions_show_what_was_just_sent(page: Page) -> None:
    text = unique("Seen at once.")
    classify(page, text)
    expect(page.locator("#latest-rows .row-text").first).to_have_text(text)


def test_what_others_send_appears_without_taking_the_focus(page: Page, visitor: Visitor) -> None:
    first, second = unique("Mine."), unique("Of somebody else.")
    classify(page, first)
    mine = page.locator("#latest-rows .row").filter(has_text=first)
    mine.locator("summary").click()
    page.request.post(f"{visitor.origin}/predict", data={"text": second})
    expect(page.locator("#latest-rows .row-text").first).to_have_text(second)
    expect(mine.locator("summary")).to_be_focused()
    expect(mine.locator("dl")).to_be_visible()


def test_an_opened_row_says_what_made_it(page: Page, visitor: Visitor) -> None:
    text = unique("Open me.")
    classify(page, text)
    row = page.locator("#latest-rows .row").filter(has_text=text)
    row.locator("summary").click()
    for name in ("Model", "Precision", "Engine", "Tokens", "Queue", "Inference", "Id", "Request"):
        expect(row.locator("dt").get_by_text(name, exact=True)).to_be_visible()
    expect(row.locator(".bars li")).to_have_count(len(labels(page, visitor)))


def test_a_row_that_was_inserted_by_hand_shows_what_it_has(visitor: Visitor) -> None:
    page = visitor.context()

    def by_hand(route: Route) -> None:
        answer = route.fetch().json()
        row = dict.fromkeys(answer["predictions"][0] if answer["predictions"] else ["scores"])
        row |= {"id": str(uuid.uuid4()), "created_at": "2026-01-01T00:00:00Z"}
        row |= {"text": "INSERT INTO predictions", "prediction": "POSITIVE"}
        route.fulfill(json={"predictions": [row], "next": None})

    page.route("**/predictions?*", by_hand)
    visitor.visit(page)
    row = page.locator("#latest-rows .row").first
    expect(row).to_contain_text("INSERT INTO predictions")
    row.locator("summary").click()
    expect(row.locator("dt")).to_have_text(["Time", "Id"])


def test_a_paused_page_asks_for_nothing_until_it_goes_on(page: Page, visitor: Visitor) -> None:
    text = unique("While paused.")
    page.get_by_role("button", name="Pause live updates").click()
    page.request.post(f"{visitor.origin}/predict", data={"text": text})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    classify(page, unique("Also while paused."))
    expect(page.locator("#live")).to_have_text("Paused")
    assert not [url for url in asked if "/predictions" in url or "/stats" in url]
    page.get_by_role("button", name="Resume live updates").click()
    expect(page.locator("#latest-rows .row-text").filter(has_text=text)).to_have_count(1)


def test_the_latest_predictions_can_be_of_one_label(page: Page, visitor: Visitor) -> None:
    wanted = labels(page, visitor)[0]
    classify_lines(page, ["Wonderful, moving and wise.", "Dull, stupid and far too long."])
    page.get_by_label("Label", exact=True).select_option(wanted)
    expect(page.locator("#latest-rows .row-label .tag").first).to_have_text(wanted)
    assert set(page.locator("#latest-rows .row-label .tag").all_inner_texts()) == {wanted}


def test_a_log_behind_a_token_asks_for_it_and_keeps_it_in_the_tab(
    browser: Browser, data_dir: Path
) -> None:
    with (
        running_server(data_dir, SENTIMENT_READ_TOKEN="right") as guarded,
        visiting(browser, guarded) as visitor,
    ):
        visitor.faults = True
        page = visitor.open()
        field = page.get_by_label("Read token")
        field.fill("wrong")
        field.press("Enter")
        expect(page.locator("#log-message")).to_have_text("The server does not take this token.")
        field.fill("right")
        field.press("Enter")
        expect(page.get_by_role("heading", name="Predictions")).to_be_focused()
        assert page.evaluate("[sessionStorage.length, localStorage.length]") == [1, 0]
        page.get_by_role("button", name="Forget the read token").click()
        expect(field).to_be_focused()
        assert page.evaluate("sessionStorage.length") == 0


def test_a_closed_log_is_said_in_the_servers_own_words(visitor: Visitor) -> None:
    visitor.faults = True
    page = visitor.context()
    page.route(
        re.compile(r"/(predictions|stats)\?"),
        lambda route: refuse(route, 403, "The log is closed here."),
    )
    visitor.visit(page)
    expect(page.locator("#log-message")).to_have_text("The log is closed here.")
    expect(page.get_by_label("Read token")).to_be_hidden()


def test_a_server_that_records_nothing_is_not_asked_for_a_log(
    browser: Browser, data_dir: Path
) -> None:
    with (
        running_server(data_dir, SENTIMENT_RECORD="off") as forgetful,
        visiting(browser, forgetful) as visitor,
    ):
        page = visitor.context()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        visitor.visit(page)
        expect(page.locator("#log-message")).to_contain_text("Nothing is recorded")
        classify(page, "A fine film.")
        expect(page.locator("#one-meta")).to_contain_text("not recorded")
        assert not [url for url in asked if "/predictions" in url or "/stats" in url]
