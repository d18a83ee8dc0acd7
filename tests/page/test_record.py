"""What the page says of the log while PostgreSQL is away."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from sentiment_k8s.postgres import EmbeddedPostgres

from ..serving import RunningServer, running_server
from .visits import classify, unique, visiting


@pytest.fixture
def server_beside(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[RunningServer]:
    """A server whose PostgreSQL is another's, as on Kubernetes."""
    with running_server(tmp_path, DATABASE_URL=postgres.start()) as server:
        yield server


def test_answers_kept_on_disk_are_counted_until_postgresql_has_them(
    browser: Browser, postgres: EmbeddedPostgres, server_beside: RunningServer
) -> None:
    with visiting(browser, server_beside) as visitor:
        visitor.faults = True
        page = visitor.open()
        classify(page, "Before.")
        notice = page.locator("#record-notice")
        expect(notice).to_be_hidden()
        postgres.stop()
        text = unique("Meanwhile.")
        classify(page, text)
        expect(notice).to_have_text(
            "PostgreSQL is away; 1 answer is kept on this server’s disk until it is back."
        )
        expect(page.locator("#fact-record")).to_have_text("Recorded on this server’s disk")
        expect(page.locator("#latest-status")).not_to_be_empty()
        expect(page.locator("#latest-rows .row")).to_have_count(1)  # what was read stays readable
        postgres.start()
        expect(page.locator("#latest-rows .row-text").first).to_have_text(text)
        expect(notice).to_be_hidden()
        expect(page.locator("#fact-record")).to_have_text("Recorded in PostgreSQL")
        expect(page.locator("#latest-status")).to_be_empty()


def test_without_a_spool_the_page_says_that_nothing_is_answered(
    browser: Browser, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    with (
        running_server(tmp_path, "--spool", "strict", DATABASE_URL=postgres.start()) as strict,
        visiting(browser, strict) as visitor,
    ):
        visitor.faults = True
        page = visitor.open()
        classify(page, "Before.")
        postgres.stop()
        page.get_by_role("button", name="Classify", exact=True).click()
        expect(page.locator("#record-notice")).to_have_text(
            "PostgreSQL is away: no text is answered until it is back."
        )
        expect(page.locator("#one-status")).to_have_attribute("data-kind", "error")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"writable": False},
            "PostgreSQL is away and the spool cannot be written: no text is answered. "
            "3 answers are kept on this server’s disk.",
        ),
        (
            {"bytes": 900},
            "PostgreSQL is away; 3 answers are kept on this server’s disk until it is back "
            "(90% of the room for them is used).",
        ),
        (
            {"damaged_records": 2},
            "PostgreSQL is away; 3 answers are kept on this server’s disk until it is back. "
            "2 records of the spool could not be read: set aside, see the server’s log.",
        ),
    ],
)
def test_a_spool_in_trouble_is_said_to_be(
    open_page: Page, changes: dict[str, object], sentence: str
) -> None:
    spool = {"rows": 3, "bytes": 100, "max_bytes": 1000, "writable": True, "damaged_records": 0}
    record = {"mode": "postgresql", "available": False, "spool": spool | changes}
    said = open_page.evaluate(
        "async (record) => (await import('/page/record.js')).noticeOf(record)", record
    )
    assert said == sentence
