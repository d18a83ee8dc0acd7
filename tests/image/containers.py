"""Containers run as a pod runs them: without root, capabilities, or a writable file system."""

import json
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue
from threading import Thread
from typing import Any

IMAGE = "sentiment-app:latest"
BASE = "python:3.13-slim"
POSTGRES = "postgres:17"
SPOOL = "/var/spool/sentiment"

RESTRICTED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


def docker(*arguments: str) -> str:
    """What a docker command prints."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def inspect(image: str) -> dict[str, Any]:
    [facts] = json.loads(docker("image", "inspect", image))
    return dict(facts)


def run_once(
    *command: str, image: str = IMAGE, network: str = "none", options: tuple[str, ...] = ()
) -> tuple[int, str]:
    """The exit status and the standard error of a container that ends by itself."""
    call = ["docker", "run", "--rm", "--network", network, *RESTRICTED, *options, image, *command]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


class Container:
    """A running container, and what it says."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self.name = name
        self._process = process
        self._said: list[str] = []
        self._lines: Queue[str | None] = Queue()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(None)

    @property
    def said(self) -> str:
        """What it has said up to the last line that was waited for."""
        return "".join(self._said)

    def line_with(self, text: str) -> str:
        """The next line that has this text."""
        while line := self._lines.get(timeout=60):
            self._said.append(line)
            if text in line:
                return line
        raise AssertionError(f"{self.name} ended without saying {text!r}: {self.said}")

    def stop(self, signal: str = "TERM") -> int:
        """Signal its first process and return the exit status."""
        docker("kill", "--signal", signal, self.name)
        return self._process.wait(30)

    def remove(self) -> None:
        """Have it gone, if it is not."""
        if self._process.poll() is None:
            docker("rm", "--force", self.name)
            self._process.wait(30)
        self._reader.join(30)


@contextmanager
def running(
    *command: str, image: str = IMAGE, network: str = "host", options: tuple[str, ...] = ()
) -> Iterator[Container]:
    """A container, removed at the end; on the host's network, since ours has no other."""
    name = f"sentiment-test-{secrets.token_hex(4)}"
    call = ["docker", "run", "--rm", "--name", name, "--network", network, *RESTRICTED, *options]
    process = subprocess.Popen(
        [*call, image, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    container = Container(name, process)
    try:
        yield container
    finally:
        container.remove()


@contextmanager
def running_server(*options: str, image: str = IMAGE) -> Iterator[tuple[Container, str]]:
    """The server on a free port at the book's limits, when it is ready; its address with it."""
    limits = ("--memory", "512m", "--cpus", "1", "--env", "SENTIMENT_PORT=0")
    with running(image=image, options=(*limits, *options)) as container:
        ready = json.loads(container.line_with("Ready on "))["message"]
        port = ready.split()[2].rpartition(":")[2]
        yield container, f"http://127.0.0.1:{port}"
