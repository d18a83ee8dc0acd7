import re

from playwright.sync_api import Page, expect

from .browser import Visitor
from .visits import HOSTILE, choose, classify, classify_lines, labels, refuse, unique


def test_a_sentence_gets_a_bar_for_every_label(page: Page, visitor: Visitor) -> None:
    classify(page, "I love AI!")
    shown = page.locator("#one-bars .bar-label").all_inner_texts()
    assert sorted(shown) == sorted(labels(page, visitor))
    scores = page.locator("#one-bars .bar-score").all_inner_texts()
    assert all(re.fullmatch(r"[<>]?\d+\.\d%", score) for score in scores)
    widths = [bar.bounding_box() for bar in page.locator("#one-bars .fill").all()]
    assert [box["width"] for box in widths if box] == sorted(
        (box["width"] for box in widths if box), reverse=True
    )


def test_the_verdict_is_announced(page: Page) -> None:
    classify(page, "I love AI!")
    status = page.locator("#one-status")
    expect(status).to_have_attribute("role", "status")
    expect(status).to_contain_text(page.locator("#one-bars .bar-label").first.inner_text())


def test_control_and_enter_classify(page: Page) -> None:
    field = page.get_by_label("Text", exact=True)
    field.fill("A fine film.")
    field.press("Control+Enter")
    expect(page.locator("#one-bars li")).not_to_have_count(0)


def test_a_blank_text_is_answered_with_a_sentence_and_no_request(page: Page) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.get_by_label("Text", exact=True).fill("  \n ")
    page.get_by_role("button", name="Classify", exact=True).click()
    expect(page.locator("#one-status")).to_have_text("Type a text first.")
    assert not [url for url in requests if url.endswith("/predict")]


def test_a_text_that_was_cut_is_said_to_be(page: Page) -> None:
    classify(page, "too long " * 2000)
    expect(page.locator("#one-note")).to_contain_text("only its beginning was read")


def test_a_refusal_is_shown_in_the_servers_own_words(visitor: Visitor) -> None:
    visitor.faults = True
    page = visitor.open()
    page.route("**/predict", lambda route: refuse(route, 503, "Not yet.", **{"Retry-After": "3"}))
    page.get_by_label("Text", exact=True).fill("A fine film.")
    page.get_by_role("button", name="Classify", exact=True).click()
    expect(page.locator("#one-status")).to_have_text("Not yet. Try again in 3 s.")


def test_a_hostile_text_is_shown_as_text_everywhere(page: Page) -> None:
    hostile = unique(HOSTILE)
    classify(page, hostile)
    classify_lines(page, [hostile, "<script>alert(2)</script>"])
    expect(page.locator("#many-rows td.text").first).to_have_text(hostile)
    expect(page.locator("#latest-rows .row-text").filter(has_text=hostile)).to_have_count(2)
    assert page.locator("main img, main script").count() == 0


def test_a_hostile_file_is_shown_as_text(page: Page) -> None:
    choose(page, f"{HOSTILE}.csv", f"{HOSTILE},text\n1,{HOSTILE}\n")
    expect(page.locator("#file-name")).to_have_text(f"{HOSTILE}.csv")
    expect(page.locator("#file-sample")).to_have_text(HOSTILE)
    assert page.locator("main img").count() == 0


def test_a_right_to_left_text_is_set_from_right_to_left(page: Page) -> None:
    classify_lines(page, ["סרט נפלא", "Fine."])
    directions = page.locator("#many-rows td.text").evaluate_all(
        "cells => cells.map(cell => getComputedStyle(cell).direction)"
    )
    assert directions == ["rtl", "ltr"]
