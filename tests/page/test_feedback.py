"""Saying which label is right."""

from playwright.sync_api import Locator, Page, expect

from .browser import Visitor
from .visits import classify, labels, refuse, unique


def opened(page: Page, text: str) -> Locator:
    """The row of a text, open."""
    row = page.locator("#latest-rows .row").filter(has_text=text)
    row.locator("summary").click()
    return row


def other_than(label: str, page: Page, visitor: Visitor) -> str:
    return next(other for other in labels(page, visitor) if other != label)


def test_an_answer_is_corrected_where_it_stands(page: Page, visitor: Visitor) -> None:
    text = unique("A fine film.")
    classify(page, text)
    answer = page.locator("#one-feedback")
    label = page.locator("#one-bars .bar-label").first.inner_text()
    expect(answer.get_by_label("Right label")).to_have_value(label)
    right = other_than(label, page, visitor)
    answer.get_by_label("Right label").select_option(right)
    answer.get_by_label("Comment").fill("It was irony.")
    page.keyboard.press("Enter")
    expect(answer.get_by_role("status")).to_contain_text(f"Kept: {right} is right, not {label}")
    row = page.locator("#latest-rows .row").filter(has_text=text)
    expect(row.locator("summary")).to_contain_text(f"corrected to {right}")
    found = page.request.get(f"{visitor.origin}/predictions?limit=1").json()["predictions"][0]
    assert found["feedback"]["label"] == right
    assert found["feedback"]["comment"] == "It was irony."


def test_a_row_of_the_log_is_confirmed_and_then_corrected(page: Page, visitor: Visitor) -> None:
    text = unique("A row to judge.")
    classify(page, text)
    row = opened(page, text)
    label = row.get_by_label("Right label").input_value()
    row.get_by_role("button", name="Save").click()
    expect(row.locator("summary")).to_contain_text("confirmed")
    right = other_than(label, page, visitor)
    row.get_by_label("Right label").select_option(right)
    row.get_by_role("button", name="Save").click()
    expect(row.locator("summary")).to_contain_text(f"corrected to {right}")


def test_what_was_said_before_is_there_when_the_row_is_opened_again(
    page: Page, visitor: Visitor
) -> None:
    text = unique("Judged by somebody else.")
    classify(page, text)
    found = page.request.get(f"{visitor.origin}/predictions?limit=1").json()["predictions"][0]
    right = other_than(found["prediction"], page, visitor)
    page.request.post(
        f"{visitor.origin}/predictions/{found['id']}/feedback",
        data={"label": right, "comment": "Look again."},
    )
    page.reload()
    row = opened(page, text)
    expect(row.get_by_label("Right label")).to_have_value(right)
    expect(row.get_by_label("Comment")).to_have_value("Look again.")


def test_feedback_that_is_refused_is_said_so_in_the_servers_words(visitor: Visitor) -> None:
    visitor.faults = True
    page = visitor.open()
    page.route("**/feedback", lambda route: refuse(route, 503, "Not kept: try again."))
    classify(page, unique("A fine film."))
    answer = page.locator("#one-feedback")
    answer.get_by_role("button", name="Save").click()
    expect(answer.get_by_role("status")).to_have_text("Not kept: try again.")


def test_feedback_is_kept_by_keyboard_alone(page: Page) -> None:
    text = unique("By keyboard.")
    classify(page, text)
    row = page.locator("#latest-rows .row").filter(has_text=text)
    row.locator("summary").press("Enter")
    expect(row.get_by_label("Right label")).to_be_visible()
    for key in ("Tab", "Tab", "Tab", "Enter"):
        page.keyboard.press(key)
    expect(row.locator("summary")).to_contain_text("confirmed")
