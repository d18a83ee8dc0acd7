"""Rows wait in the image's spool while PostgreSQL is away."""

from typing import Any

import httpx

from .containers import SPOOL, run_once, running_server

NOWHERE = ("--env", "DATABASE_URL=postgresql://user:secret@127.0.0.1:1/ai_db")
WRITABLE = ("--read-only=false",)
STRICT = ("--env", "SENTIMENT_SPOOL=strict")


def predict(url: str) -> httpx.Response:
    return httpx.get(f"{url}/predict", params={"text": "I love AI!"})


def spool(url: str) -> dict[str, Any]:
    """What `/health` says of it."""
    found: dict[str, Any] = httpx.get(f"{url}/health").json()["record"]["spool"]
    return found


def test_with_a_database_url_alone_it_answers_and_keeps_the_row() -> None:
    with running_server(*NOWHERE, *WRITABLE) as (_, url):
        assert predict(url).raise_for_status().json()["id"]
        assert spool(url)["rows"] == 1


def test_a_volume_keeps_the_rows_of_a_container_that_was_killed(volume: str) -> None:
    mounted = ("--volume", f"{volume}:{SPOOL}")
    with running_server(*NOWHERE, *mounted) as (container, url):
        predict(url).raise_for_status()
        container.stop("KILL")
    with running_server(*NOWHERE, *mounted) as (_, url):
        assert spool(url)["rows"] == 1


def test_a_read_only_container_without_a_volume_says_what_it_needs() -> None:
    status, said = run_once("serve", options=NOWHERE)
    assert status == 1
    [sentence] = [line for line in said.splitlines() if not line.startswith("{")]
    assert SPOOL in sentence
    assert "secret" not in sentence


def test_a_read_only_container_may_be_strict_instead() -> None:
    with running_server(*NOWHERE, *STRICT) as (_, url):
        assert predict(url).status_code == 503
