"""A browser, and the page open in it, against the real server."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from ..serving import RunningServer

if TYPE_CHECKING:  # where there is no playwright, the modules that import it are skipped
    from playwright.sync_api import Browser, Page

    from .browser import Visitor

pytest.register_assert_rewrite("tests.page.visits")  # so that a failure shows the complaints


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    # Not longer than the module: Playwright's event loop is in the way of tests that are async.
    from .browser import chromium

    with chromium() as running:
        yield running


@pytest.fixture
def visitor(browser: "Browser", server: RunningServer) -> "Iterator[Visitor]":
    from .visits import visiting

    with visiting(browser, server) as visitor:
        yield visitor


@pytest.fixture
def page(visitor: "Visitor") -> "Page":
    return visitor.open()


@pytest.fixture(scope="module")
def open_page(browser: "Browser", server: RunningServer) -> "Iterator[Page]":
    """A page for tests that only call its functions: opening one takes a second."""
    from .visits import visiting

    with visiting(browser, server) as visitor:
        yield visitor.open()
