"""Chromium for the tests of the page, and a watch on what the page does in it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest

if not os.environ.get("CI"):  # there it is part of the machine, and its lack an error
    pytest.importorskip("playwright", reason="playwright is not installed: make test installs it")

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Page,
    Request,
    sync_playwright,
)
from playwright.sync_api import TimeoutError as TookTooLong

EXECUTABLES = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
# No sandbox: it needs a user namespace, which root and most containers do not have. The page under
# test is our own. The others keep the browser from calling home.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Chromium drops every request under way when an interface of the machine comes or goes, as those of
# a cluster's pods do.
DROPPED = "net::ERR_NETWORK_CHANGED"


def unavailable(reason: str) -> NoReturn:
    """Skip the test, or fail it where CI is set: there a browser is part of the machine."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running Chromium; skips (or fails, in CI) where there is none."""
    executable = next((path for path in EXECUTABLES if Path(path).exists()), None)
    if executable is None:
        unavailable("There is no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass
class Visitor:
    """Opens the page, and remembers everything that a page must not do.

    Attributes:
        origin: the server's address, without a slash at its end.
        complaints: console errors, uncaught exceptions, and requests that left the origin.
        faults: whether the test makes the server refuse, which the console reports as well.
        dropped: whether the machine's network changed and the browser dropped a request for it.
    """

    browser: Browser
    origin: str
    complaints: list[str] = field(default_factory=list)
    faults: bool = False
    dropped: bool = False
    contexts: list[BrowserContext] = field(default_factory=list)

    def context(self, *, width: int = 1280, height: int = 900, dark: bool = False) -> Page:
        """An empty tab of a fresh profile, with its window's size in pixels."""
        context = self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        context.set_default_timeout(15_000)
        self.contexts.append(context)
        page = context.new_page()
        page.on("request", self._check_origin)
        page.on("requestfailed", self._note_failure)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", self._note_dialog)
        page.on("console", self._check_console)
        return page

    def open(self, *, width: int = 1280, height: int = 900, dark: bool = False) -> Page:
        """The page in a fresh profile, once the server has said what it is."""
        page = self.context(width=width, height=height, dark=dark)
        return self.visit(page)

    def visit(self, page: Page) -> Page:
        """Go to the page in a tab that is there already."""
        ready = page.get_by_text("Ready", exact=True)
        page.goto(f"{self.origin}/")
        try:
            ready.wait_for()
        except TookTooLong:
            if not self.dropped:
                raise
            page.reload()
            ready.wait_for()
        return page

    def close(self) -> None:
        """Close every tab."""
        for context in self.contexts:
            context.close()

    def _check_origin(self, request: Request) -> None:
        if not request.url.startswith((f"{self.origin}/", f"blob:{self.origin}/")):
            self.complaints.append(f"left the origin: {request.url}")

    def _note_failure(self, request: Request) -> None:
        self.dropped |= request.failure == DROPPED

    def _note_dialog(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()  # or the page would wait for ever

    def _check_console(self, message: ConsoleMessage) -> None:
        expected = self.faults and message.text.startswith("Failed to load resource")
        if message.type == "error" and not expected and DROPPED not in message.text:
            self.complaints.append(f"console: {message.text}")
