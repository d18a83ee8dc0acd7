import json
import re
import uuid

import pytest
from playwright.sync_api import Page, Request, Route, expect

from .browser import Visitor
from .visits import choose, classify_lines, download, refuse, wait_for_table


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
