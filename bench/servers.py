"""Servers as processes of their own, pinned, with their memory and CPU time read from /proc."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from . import machine

START_SECONDS = 120.0
STOP_SECONDS = 30.0


class Server:
    """A server from its start to its stop.

    Args:
        command: its argument list; `{port}` in it becomes a free port.
        cores: that it may use.
        ready: path that answers 200 when it is ready.
        log: file for what it says.
        environment: beside ours.
        folder: where it runs, here if None.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cores: Sequence[int],
        ready: str,
        log: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.address = ("127.0.0.1", _free_port())
        self.start_seconds = 0.0
        self._command = [part.format(port=self.address[1]) for part in command]
        self._cores = cores
        self._ready = ready
        self._log = log
        self._environment = os.environ | dict(environment or {})
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        """Start it and wait until it is ready."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        with self._log.open("wb") as log, machine.pinned(self._cores):
            self._process = subprocess.Popen(
                self._command, env=self._environment, cwd=self._folder, stdout=log, stderr=log
            )
        while not self._is_ready():
            if self._process.poll() is not None or time.perf_counter() - started > START_SECONDS:
                self.stop()
                raise SystemExit(f"{self._command[0]} did not start: see {self._log}.")
            time.sleep(0.02)
        self.start_seconds = time.perf_counter() - started
        return self

    def stop(self) -> None:
        """Stop it, as Kubernetes would."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def cpu_seconds(self) -> float:
        return machine.cpu_seconds(self.pid)

    def peak_rss_mib(self) -> float:
        return machine.peak_rss_mib(self.pid)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(*self.address, timeout=5)
        try:
            connection.request("GET", self._ready)
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


def ours(
    model: str, database_url: str, cores: Sequence[int], *, record: str, spool: Path, log: Path
) -> Server:
    """Our server, as `sentiment serve` runs it.

    Args:
        record: `required` or `off`.
        spool: its folder for rows while PostgreSQL is away.
    """
    flags = {"--model": model, "--record": record, "--port": "{port}"}
    command = [sys.executable, "-m", "sentiment_k8s", "serve"]
    for flag, value in flags.items():
        command += [flag, value]
    environment = {"DATABASE_URL": database_url, "SENTIMENT_SPOOL_DIR": str(spool)}
    return Server(command, cores=cores, ready="/health/ready", log=log, environment=environment)


def post_requests(texts: Sequence[str]) -> list[bytes]:
    """`POST /predict` with one text each, as they go over the wire."""
    bodies = [json.dumps({"text": text}).encode() for text in texts]
    return [
        b"POST /predict HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        for body in bodies
    ]


def get_requests(texts: Sequence[str]) -> list[bytes]:
    """The book's `GET /predict?text=...`."""
    return [
        b"GET /predict?text=%b HTTP/1.1\r\nHost: bench\r\n\r\n" % quote(text).encode()
        for text in texts
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
