"""A real server in a process of its own, for the tests that speak HTTP to it."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from threading import Thread


@dataclass
class RunningServer:
    """A server that answers at `url`; `log` grows while it runs."""

    url: str
    process: subprocess.Popen[str]
    log: list[dict[str, object]]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def stop(self, *, by: signal.Signals = signal.SIGTERM) -> int:
        """Stop it and return its exit status."""
        self.process.send_signal(by)
        return self.process.wait(40)


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without settings of its own, plus `extra`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SENTIMENT_") and name != "DATABASE_URL"
    }
    if os.environ.get("SENTIMENT_TEST_MODEL"):
        kept["SENTIMENT_MODEL"] = os.environ["SENTIMENT_TEST_MODEL"]
    return kept | dict(extra)


@contextmanager
def running_server(data_dir: Path, *flags: str, **variables: str) -> Iterator[RunningServer]:
    """Start `sentiment serve` on a free port and wait until it says that it is ready.

    Args:
        data_dir: for the embedded PostgreSQL.
        flags: more of the command line.
        variables: environment variables.
    """
    command = [sys.executable, "-m", "sentiment_k8s", "serve", "--port", "0"]
    command += ["--data-dir", str(data_dir), *flags]
    process = subprocess.Popen(
        command, env=environment(variables), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    log: list[dict[str, object]] = []
    url = None
    for line in process.stderr:
        assert line.startswith("{"), line + process.stderr.read()
        log.append(json.loads(line))
        message = str(log[-1]["message"])
        if message.startswith("Ready on "):
            url = message.split()[2]
            break
    assert url, log
    rest = Thread(target=lambda: log.extend(map(json.loads, process.stderr or ())), daemon=True)
    rest.start()
    try:
        yield RunningServer(url, process, log)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(40)
        rest.join(5)
        process.stderr.close()


def answer_of(connection: socket.socket) -> bytes:
    """All that the server sends until it closes."""
    connection.settimeout(20)
    parts = []
    while part := connection.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def one_answer_of(connection: socket.socket) -> HTTPResponse:
    """The next answer, read whole, on a connection that stays open."""
    connection.settimeout(20)
    response = HTTPResponse(connection)
    response.begin()
    response.read()
    return response
