"""The page in a real browser, against the real server."""

import csv
import io
import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

if not os.environ.get("CI"):  # there it is part of the machine, and its lack an error
    pytest.importorskip("playwright", reason="playwright is not installed: make test installs it")

from playwright.sync_api import Browser, Page, Request, Route, expect

from .browser import Visitor, chromium, unavailable
from .serving import RunningServer, running_server

HOSTILE = "<img src=x onerror=alert(1)>"
AXE_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Not longer than the module: Playwright's event loop is in the way of tests that are async.
    with chromium() as running:
        yield running


@contextmanager
def visiting(browser: Browser, server: RunningServer) -> Iterator[Visitor]:
    """A visitor who in the end must have nothing to complain about."""
    visitor = Visitor(browser, server.url.rstrip("/"))
    try:
        yield visitor
    finally:
        visitor.close()
    assert visitor.complaints == []


@pytest.fixture
def visitor(browser: Browser, server: RunningServer) -> Iterator[Visitor]:
    with visiting(browser, server) as visitor:
        yield visitor


@pytest.fixture
def page(visitor: Visitor) -> Page:
    return visitor.open()


@pytest.fixture(scope="module")
def open_page(browser: Browser, server: RunningServer) -> Iterator[Page]:
    """A page for tests that only call its functions: opening one takes a second."""
    with visiting(browser, server) as visitor:
        yield visitor.open()


def classify(page: Page, text: str) -> None:
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_role("button", name="Classify", exact=True).click()
    page.locator("#one-bars li").first.wait_for()


def classify_lines(page: Page, lines: list[str]) -> None:
    page.get_by_label("One text a line").fill("\n".join(lines))
    page.get_by_role("button", name="Classify all").click()
    wait_for_table(page)


def wait_for_table(page: Page) -> None:
    expect(page.locator("#many-status")).to_contain_text("classified", timeout=60_000)


def download(page: Page) -> list[list[str]]:
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download CSV").click()
    content = Path(waiting.value.path()).read_text(encoding="utf-8-sig")
    return list(csv.reader(io.StringIO(content, newline="")))


def choose(page: Page, name: str, content: str | bytes) -> None:
    data = content.encode() if isinstance(content, str) else content
    page.set_input_files("#file", {"name": name, "mimeType": "text/csv", "buffer": data})


def labels(page: Page, visitor: Visitor) -> list[str]:
    health: dict[str, Any] = page.request.get(f"{visitor.origin}/health").json()
    return list(health["model"]["labels"])


def unique(text: str) -> str:
    return f"{text} {uuid.uuid4().hex}"


def refuse(route: Route, status: int, error: str, **headers: str) -> None:
    body = json.dumps({"error": error, "error_type": "test"})
    route.fulfill(status=status, body=body, headers={"Content-Type": "application/json", **headers})


# One text


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


# Many texts


def test_pasted_lines_become_a_table_with_as_many_rows(page: Page) -> None:
    lines = [f"Line {number} is fine." for number in range(300)]
    classify_lines(page, ["", *lines, ""])
    expect(page.locator("#many-rows tr")).to_have_count(len(lines))
    assert page.locator("#many-rows td.text").all_inner_texts() == lines


def test_no_request_has_more_texts_than_the_server_takes(page: Page) -> None:
    sent: list[int] = []

    def count(request: Request) -> None:
        if request.method == "POST":
            sent.append(len(json.loads(request.post_data or "")["texts"]))

    page.on("request", count)
    classify_lines(page, [f"Line {number}." for number in range(300)])
    assert sum(sent) == 300
    assert max(sent) <= 256


def test_the_table_is_downloaded_as_csv(page: Page) -> None:
    classify_lines(page, ["A fine film.", 'He said "no", twice.'])
    header, *rows = download(page)
    assert header == ["text", "prediction", "score", "truncated", "id", "error"]
    assert [row[0] for row in rows] == ["A fine film.", 'He said "no", twice.']
    assert all(0 <= float(row[2]) <= 1 for row in rows)
    assert all(uuid.UUID(row[4]).version == 7 for row in rows)


def test_a_cell_that_a_spreadsheet_would_run_is_disarmed_in_the_download(page: Page) -> None:
    formulas = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "1-1"]
    classify_lines(page, formulas)
    _, *rows = download(page)
    assert [row[0] for row in rows] == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\t=1", "1-1"]


def test_a_csv_file_with_several_columns_asks_which_holds_the_text(page: Page) -> None:
    file = '\ufeffid,review,stars\r\n1,"A ""fine"" film,\nin two lines",5\r\n2,Dull.,1\r\n'
    choose(page, "reviews.csv", file)
    column = page.get_by_label("Column with the text")
    assert column.locator("option").all_inner_texts() == ["id", "review", "stars"]
    expect(column.locator("option:checked")).to_have_text("review")
    expect(page.locator("#file-rows")).to_have_text("2 rows")
    page.get_by_role("button", name="Classify all").click()
    wait_for_table(page)
    header, *rows = download(page)
    assert header[:3] == ["id", "review", "stars"]
    assert [row[:3] for row in rows] == [
        ["1", 'A "fine" film,\nin two lines', "5"],
        ["2", "Dull.", "1"],
    ]


def test_another_column_may_be_chosen(page: Page) -> None:
    choose(page, "reviews.csv", "text,title\nA long review,Short\n")
    page.get_by_label("Column with the text").select_option(label="title")
    page.get_by_role("button", name="Classify all").click()
    wait_for_table(page)
    expect(page.locator("#many-rows td.text")).to_have_text(["Short"])


def test_a_blank_cell_keeps_its_row_and_is_not_sent(page: Page) -> None:
    choose(page, "reviews.csv", "id,text\n1,Fine.\n2,\n3,Dull.\n")
    page.get_by_role("button", name="Classify all").click()
    wait_for_table(page)
    _, *rows = download(page)
    assert [row[-1] for row in rows] == ["", "Blank, not sent.", ""]


def test_a_dropped_file_is_taken(page: Page) -> None:
    transfer = page.evaluate_handle(
        """() => {
            const transfer = new DataTransfer();
            transfer.items.add(new File(["One.\\nTwo.\\n"], "lines.txt"));
            return transfer;
        }"""
    )
    page.dispatch_event("#many", "drop", {"dataTransfer": transfer})
    expect(page.locator("#file-name")).to_have_text("lines.txt")
    expect(page.locator("#file-rows")).to_have_text("2 rows")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('a,b\n"open,1\n', "The quote opened in line 2 is never closed."),
        (b"caf\xe9,1\n", "The file is not UTF-8."),
        ("", "has no rows."),
    ],
)
def test_a_file_that_cannot_be_read_is_answered_with_a_sentence(
    page: Page, content: str | bytes, sentence: str
) -> None:
    choose(page, "bad.csv", content)
    expect(page.locator("#many-status")).to_contain_text(sentence)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a,b\nc,d", [["a", "b"], ["c", "d"]]),
        ("a,b\r\nc,d\r\n", [["a", "b"], ["c", "d"]]),
        ("a\rb\r", [["a"], ["b"]]),
        ("a,\n,b\n", [["a", ""], ["", "b"]]),
        ('"a,1","b\r\n2"\n', [["a,1", "b\r\n2"]]),
        ('"say ""so""",x\n', [['say "so"', "x"]]),
        ('a;"b;c"\n1;2\n', [["a", "b;c"], ["1", "2"]]),
        ("a\tb,c\td\n", [["a", "b,c", "d"]]),
        ("a\n\n\nb", [["a"], ["b"]]),
        ('5" disc,x\n', [['5" disc', "x"]]),
    ],
)
def test_csv_is_read_as_rfc_4180_and_spreadsheets_write_it(
    open_page: Page, text: str, rows: list[list[str]]
) -> None:
    read = open_page.evaluate("async (text) => (await import('/page/csv.js')).parse(text)", text)
    assert read == rows


def test_a_busy_server_is_asked_again_when_it_says(visitor: Visitor) -> None:
    visitor.faults = True
    page = visitor.open()
    attempts: list[str] = []

    def busy_once(route: Route) -> None:
        attempts.append(route.request.url)
        if len(attempts) == 1:
            refuse(route, 429, "Too much at once.", **{"Retry-After": "1"})
        else:
            route.continue_()

    page.route("**/predict", busy_once)
    page.get_by_label("One text a line").fill("Fine.\nDull.")
    page.get_by_role("button", name="Classify all").click()
    expect(page.locator("#many-status")).to_have_text("The server is busy. Going on in 1 s.")
    wait_for_table(page)
    expect(page.locator("#many-rows tr")).to_have_count(2)
    assert len(attempts) == 2


def test_a_server_that_stays_busy_is_left_alone_after_some_tries(visitor: Visitor) -> None:
    visitor.faults = True
    page = visitor.open()
    attempts: list[str] = []

    def busy(route: Route) -> None:
        attempts.append(route.request.url)
        refuse(route, 503, "Not ready.", **{"Retry-After": "0"})

    page.route("**/predict", busy)
    page.get_by_label("One text a line").fill("Fine.")
    page.get_by_role("button", name="Classify all").click()
    expect(page.locator("#many-status")).to_contain_text("Not ready: 0 texts classified")
    assert len(attempts) < 10
    expect(page.get_by_role("button", name="Go on with 1")).to_be_visible()


def test_one_bad_text_hurts_only_itself(visitor: Visitor) -> None:
    visitor.faults = True
    page = visitor.open()

    def picky(route: Route) -> None:
        if "poison" in (route.request.post_data or ""):
            refuse(route, 400, "This text is not taken.")
        else:
            route.continue_()

    page.route("**/predict", picky)
    classify_lines(page, ["Fine.", "poison", "Dull.", "Good."])
    expect(page.locator("#many-status")).to_contain_text(
        re.compile("^3 texts classified in .*, 1 without an answer")
    )
    expect(page.locator("#many-rows tr").nth(1)).to_contain_text("This text is not taken.")


def test_cancelled_work_keeps_its_rows_and_can_go_on(visitor: Visitor) -> None:
    page = visitor.open()
    held: list[Route] = []
    passed: list[str] = []

    def hold_the_second(route: Route) -> None:
        passed.append(route.request.url)
        if len(passed) == 2:
            held.append(route)
        else:
            route.continue_()

    page.route("**/predict", hold_the_second)
    page.get_by_label("One text a line").fill("\n".join(f"Line {n}." for n in range(200)))
    page.get_by_role("button", name="Classify all").click()
    expect(page.locator("#many-count")).to_contain_text("128 of 200")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#many-status")).to_contain_text(
        "Cancelled: 128 texts classified, 72 not sent."
    )
    page.get_by_role("button", name="Go on with 72").click()
    expect(page.locator("#many-rows tr")).to_have_count(200)


# Texts are written by strangers


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


# The log


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
    for name in ("Model", "Precision", "Tokens", "Queue", "Inference", "Id", "Request"):
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


# For everybody


def contrast(first: str, second: str) -> float:
    """The contrast of two CSS colours, 1 to 21 (WCAG 2.2, contrast ratio)."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        ]
        return sum(
            weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True)
        )

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_everything_works_by_keyboard_alone(page: Page) -> None:
    keys = page.keyboard
    keys.press("Tab")
    expect(page.get_by_role("link", name="Skip to the text field")).to_be_focused()
    keys.press("Enter")
    keys.type("A fine film.")
    keys.press("Control+Enter")
    expect(page.locator("#one-bars li")).not_to_have_count(0)
    page.get_by_label("One text a line").focus()
    keys.type("Fine.\nDull.")
    keys.press("Tab")
    keys.press("Enter")
    wait_for_table(page)
    expect(page.get_by_role("button", name="Download CSV")).to_be_focused()
    with page.expect_download():
        keys.press("Enter")


def test_every_control_is_reached_by_tab_and_shows_its_focus(page: Page) -> None:
    classify_lines(page, ["Fine.", "Dull."])
    page.locator("#latest-rows .row").first.wait_for()
    page.get_by_role("button", name="Pause live updates").click()
    controls = "a[href], button, select, textarea, input, summary"
    # A tab that is not chosen is reached from the chosen one by the arrows.
    controls = ", ".join(f"{control}:not([tabindex='-1'])" for control in controls.split(", "))
    expected = page.locator(controls).filter(visible=True).count()
    page.evaluate("document.activeElement.blur()")
    seen: set[str] = set()
    unmarked: list[str] = []
    for _ in range(expected + 10):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """(controls) => {
                const active = document.activeElement;
                if (!active.matches(controls)) return null;
                // The file field is drawn by its label.
                const drawn = active.type === "file" ? active.nextElementSibling : active;
                const index = [...document.querySelectorAll(controls)].indexOf(active);
                return [String(index), getComputedStyle(drawn).outlineStyle, active.outerHTML];
            }""",
            controls,
        )
        if found is None:
            continue
        seen.add(found[0])
        if found[1] != "solid":
            unmarked.append(found[2])
    assert unmarked == []
    assert len(seen) == expected


def axe() -> Any:
    try:
        module = import_module("axe_playwright_python.sync_playwright")
    except ImportError:
        unavailable("axe-playwright-python is not installed: make test installs it")
    return module.Axe()


def filled(visitor: Visitor, *, width: int, dark: bool) -> Page:
    """The page with an answer, a table, a chart and an open row."""
    page = visitor.open(width=width, dark=dark)
    classify(page, "A fine film. " + "Unbroken" * 60)
    classify_lines(page, ["Fine.", HOSTILE, "x" * 400, "סרט נפלא"])
    page.get_by_text("Show as a table").filter(visible=True).click()
    page.locator("#latest-rows summary").first.click()
    page.locator("#latest-rows dl").first.wait_for()
    return page


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_no_fault(visitor: Visitor, width: int, dark: bool) -> None:
    page = filled(visitor, width=width, dark=dark)
    result = axe().run(page, options=AXE_RULES)
    assert result.violations_count == 0, result.generate_report()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_what_axe_cannot_see_has_contrast_as_well(visitor: Visitor, dark: bool) -> None:
    page = visitor.open(dark=dark)
    classify(page, "A fine film.")
    ground, words, *tones = page.evaluate(
        """() => {
            const swatch = document.querySelector(".swatch");
            const named = ["negative", "neutral", 0, 1, 2, 3, 4, 5, 6, 7];
            return [
                getComputedStyle(document.querySelector("#figures")).backgroundColor,
                getComputedStyle(document.querySelector("#counts-chart text")).fill,
                ...named.map((name) => {
                    swatch.className = `swatch tone-${name}`;
                    return getComputedStyle(swatch).backgroundColor;
                }),
            ];
        }"""
    )
    assert contrast(words, ground) >= 4.5
    assert min(contrast(tone, ground) for tone in tones) >= 3


def test_dark_is_dark_and_light_is_light(visitor: Visitor) -> None:
    def brightness(page: Page) -> int:
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in re.findall(r"\d+", ground)[:3]) // 3

    assert brightness(visitor.open(dark=True)) < 40
    assert brightness(visitor.open(dark=False)) > 220


def test_a_phone_never_scrolls_sideways(visitor: Visitor) -> None:
    page = filled(visitor, width=360, dark=False)
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_the_page_loads_nothing_from_elsewhere_and_has_no_inline_code(page: Page) -> None:
    # That no request leaves the origin is asserted after every test, by `visitor`.
    policy = page.request.get(page.url).headers["content-security-policy"]
    assert policy.startswith("default-src 'self'")
    assert page.locator("[style]:not(.fill), script:not([src]), style").count() == 0
