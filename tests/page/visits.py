"""What a visitor does on the page, for the tests of it."""

import csv
import io
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Route, expect

from ..serving import RunningServer
from .browser import Visitor, unavailable

AXE_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
HOSTILE = "<img src=x onerror=alert(1)>"


@contextmanager
def visiting(browser: Browser, server: RunningServer) -> Iterator[Visitor]:
    """A visitor who in the end must have nothing to complain about."""
    visitor = Visitor(browser, server.url.rstrip("/"))
    try:
        yield visitor
    finally:
        visitor.close()
    assert visitor.complaints == []


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


def filled(visitor: Visitor, *, width: int, dark: bool) -> Page:
    """The page with an answer, a table, a chart, filters, and an open row with feedback."""
    page = visitor.open(width=width, dark=dark)
    classify(page, "A fine film. " + "Unbroken" * 60)
    classify_lines(page, ["Fine.", HOSTILE, "x" * 400, "סרט נפלא"])
    page.get_by_text("Show as a table").filter(visible=True).click()
    page.locator("#latest-rows summary").first.click()
    page.get_by_text("More filters").click()
    form = page.locator("#latest-rows form").first
    form.get_by_role("button", name="Save").click()
    expect(form.get_by_role("status")).to_contain_text("Kept")
    return page


def faults_that_axe_finds(page: Page) -> str:
    """What axe-core has to say against the page as it is; nothing if all is well."""
    try:
        module = import_module("axe_playwright_python.sync_playwright")
    except ImportError:
        unavailable("axe-playwright-python is not installed: make test installs it")
    result = module.Axe().run(page, options=AXE_RULES)
    return str(result.generate_report()) if result.violations_count else ""
