"""Servers as processes of their own, pinned, with their memory and CPU time read from /proc."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from uuid import uuid4

from . import machine
from .family import Family
from .wire import OURS, Wire

START_SECONDS = 180.0
STOP_SECONDS = 30.0
FIRST_TEXT = "a film worth every minute of it"


class NotStarted(SystemExit):
    """A server did not start; a script that does not care ends with this sentence."""


class Target(Protocol):
    """A server under load, started by us or not: where it listens and what it has used. What
    cannot be known is NaN."""

    address: tuple[str, int]
    start_seconds: float

    def start(self) -> Self:
        """Make it ready.

        Raises:
            NotStarted: it is not.
        """

    def stop(self) -> None:
        """End it, if it is ours to end."""

    def alive(self) -> bool:
        """Whether it still runs, as far as we know."""

    def hold(self) -> int:
        """Keep all its threads on its cores, if we know these; how many had left them."""

    def cpu_seconds(self) -> float:
        """CPU time so far, of all its processes."""

    def memory_mib(self) -> float:
        """The most memory so far; several processes only count when one looks."""


class Server:
    """A server from its start to its stop: a process and all that it starts.

    Args:
        command: its argument list; `{port}` in it becomes a free port.
        cores: that it may use.
        ready: what answers 200 when it is ready: a path, or a protocol in which a text is then
            classified. `start_seconds` is the time to that.
        log: file for what it says.
        environment: beside ours; `{port}` in a value becomes the port.
        folder: where it runs, here if None.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cores: Sequence[int],
        ready: str | Wire,
        log: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.address = ("127.0.0.1", free_port())
        self.start_seconds = 0.0
        self._command = [part.replace("{port}", str(self.address[1])) for part in command]
        self._cores = cores
        self._ready = ready
        self._log = log
        self._environment = os.environ | {
            name: value.replace("{port}", str(self.address[1]))
            for name, value in (environment or {}).items()
        }
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._family = Family("")

    @property
    def pid(self) -> int:
        """Of the process that we started."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        """Start it and wait until it is ready.

        Raises:
            NotStarted: it ended, or took more than START_SECONDS.
        """
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._family = Family(uuid4().hex)
        started = time.perf_counter()
        with self._log.open("wb") as log, machine.pinned(self._cores):
            self._process = subprocess.Popen(
                self._command,
                env=self._environment | self._family.mark,
                cwd=self._folder,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        try:
            self._wait(started + START_SECONDS)
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.perf_counter() - started
        return self

    def _wait(self, deadline: float) -> None:
        while not answers(self.address, self._ready):
            if not self.alive() or time.perf_counter() > deadline:
                raise NotStarted(f"{Path(self._command[0]).name} did not start: see {self._log}.")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it, as Kubernetes would, and whatever it leaves behind."""
        if self._process is None:
            return
        self._family.pids()  # those that outlive their parents and have no mark
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._family.end()

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def hold(self) -> int:
        """Keep all its threads on its cores; how many had left them."""
        return self._family.hold(self._cores)

    def cpu_seconds(self) -> float:
        return self._family.cpu_seconds()

    def memory_mib(self) -> float:
        return self._family.memory_mib()

    def peak_rss_mib(self) -> float:
        """The most that the process that we started has had resident.

        Raises:
            ValueError: it has ended.
        """
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


class Listening:
    """A server that somebody else started.

    Args:
        address: host and port.
        ready: as `Server` takes it.
        pid: of its first process, if it is on this machine and its CPU time and memory matter.
    """

    def __init__(self, address: tuple[str, int], ready: str | Wire, pid: int | None = None) -> None:
        self.address = address
        self.start_seconds = float("nan")
        self._ready = ready
        self._family = Family("", pid) if pid else None

    def start(self) -> Self:
        if not self.alive():
            raise NotStarted(f"{self.address[0]}:{self.address[1]} does not answer as it should.")
        return self

    def stop(self) -> None:
        pass

    def hold(self) -> int:
        return 0

    def alive(self) -> bool:
        return answers(self.address, self._ready)

    def cpu_seconds(self) -> float:
        return self._family.cpu_seconds() if self._family else float("nan")

    def memory_mib(self) -> float:
        return self._family.memory_mib() if self._family else float("nan")


def answers(address: tuple[str, int], ready: str | Wire) -> bool:
    """Whether a server answers 200 at a path, or classifies a text in a protocol, now."""
    try:
        status, body = _asked(address, ready)
        if status == 200 and isinstance(ready, Wire):
            ready.labels(body)
        return status == 200
    except (OSError, http.client.HTTPException, ValueError):
        return False


def _asked(address: tuple[str, int], ready: str | Wire) -> tuple[int, bytes]:
    if isinstance(ready, str):
        connection = http.client.HTTPConnection(*address, timeout=5)
        try:
            connection.request("GET", ready)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()
    with socket.create_connection(address, timeout=START_SECONDS) as stream:
        stream.sendall(ready.request([FIRST_TEXT]))
        response = http.client.HTTPResponse(stream)
        response.begin()
        return response.status, response.read()


def ours(
    model: str,
    database_url: str,
    cores: Sequence[int],
    *,
    record: str,
    spool: Path,
    log: Path,
    ready: str | Wire = "/health/ready",
    environment: Mapping[str, str] | None = None,
) -> Server:
    """Our server, as `sentiment serve` runs it.

    Args:
        record: `required` or `off`.
        spool: its folder for rows while PostgreSQL is away.
        ready: as `Server` takes it.
        environment: more settings.
    """
    flags = {"--model": model, "--record": record, "--port": "{port}"}
    command = [sys.executable, "-m", "sentiment_k8s", "serve"]
    for flag, value in flags.items():
        command += [flag, value]
    settings = {"DATABASE_URL": database_url, "SENTIMENT_SPOOL_DIR": str(spool)}
    return Server(
        command, cores=cores, ready=ready, log=log, environment=settings | dict(environment or {})
    )


def post_requests(texts: Sequence[str]) -> list[bytes]:
    """`POST /predict` with one text each, as they go over the wire."""
    return [OURS.request([text]) for text in texts]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
