"""The image runs: read-only, without rights, at the book's limits."""

import time

import httpx

from .containers import Container, docker, running, running_server

# Linux's own, over the shells: a program that starts one fails.
NO_SHELLS = ("--volume", "/dev/null:/usr/bin/dash:ro", "--volume", "/dev/null:/usr/bin/bash:ro")


def memory_mib(container: Container) -> float:
    """Memory that the container uses, without cached files."""
    used = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", container.name).split()[0]
    assert used.endswith("MiB"), used
    return float(used.removesuffix("MiB"))


def test_without_any_settings_it_answers_and_says_that_nothing_is_recorded() -> None:
    with running_server() as (container, url):
        assert "NOTHING IS RECORDED" in container.said
        assert httpx.get(f"{url}/health/ready").status_code == 200
        answer = httpx.get(f"{url}/predict", params={"text": "I love AI!"})
        assert answer.json()["prediction"] == "POSITIVE"
        assert answer.headers["x-sentiment-recorded"] == "off"


def test_by_default_it_listens_for_everyone_on_port_8000() -> None:
    with running(network="none") as container:  # where the port is free
        assert "http://0.0.0.0:8000 " in container.line_with("Ready on ")


def test_at_rest_it_uses_less_than_it_requests() -> None:
    with running_server() as (container, _):
        assert memory_mib(container) < 256


def test_sigterm_reaches_the_server_as_first_process_and_it_ends_in_order() -> None:
    with running_server() as (container, url):
        httpx.get(f"{url}/health").raise_for_status()
        told = time.monotonic()
        assert container.stop("TERM") == 0
        assert time.monotonic() - told < 5


def test_it_needs_no_shell() -> None:
    with running_server(*NO_SHELLS) as (_, url):
        assert httpx.get(f"{url}/health/ready").status_code == 200
