"""The two programs under test, in processes of their own that can be killed and started again."""

import os
import re
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from prometheus_client.parser import text_string_to_metric_families

from sentiment_k8s.postgres import EmbeddedPostgres

from ..serving import RunningServer, running_server
from .ports import quiet_port

ANSWER_SECONDS = 30.0
PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


class Postgres:
    """PostgreSQL on a data folder, at one address for its whole life.

    Args:
        data_dir: the folder.
    """

    def __init__(self, data_dir: Path) -> None:
        self._embedded = EmbeddedPostgres(data_dir)
        self._paused: list[int] = []
        self.address = self._embedded.start()

    @property
    def port(self) -> int:
        return urlsplit(self.address).port or 5432

    def start(self) -> None:
        """Start it unless it runs."""
        self._embedded.start()

    def stop(self) -> None:
        """Stop it as an operator does."""
        self._embedded.stop()

    def close(self) -> None:
        """Stop it, whatever state it is in."""
        self.resume()
        self._embedded.stop()

    def kill(self) -> None:
        """End its first process at once; the others notice and follow."""
        os.kill(self._pid, signal.SIGKILL)

    def kill_a_session(self) -> None:
        """End one of its processes at once: it takes the others down and recovers."""
        _send(signal.SIGKILL, _children_of(self._pid)[-1:])

    def pause(self) -> None:
        """The kernel still accepts connections, and nothing answers on them."""
        self._paused = [self._pid, *_children_of(self._pid)]
        _send(signal.SIGSTOP, self._paused)

    def resume(self) -> None:
        """End a pause, if there is one."""
        _send(signal.SIGCONT, self._paused)
        self._paused = []

    def configure(self, line: str) -> None:
        """What ALTER SYSTEM and a reload do, without the superuser, as whom nobody can log in."""
        (self._embedded.folder / "postgresql.auto.conf").write_text(f"{line}\n")
        os.kill(self._pid, signal.SIGHUP)

    @property
    def _pid(self) -> int:
        assert self._embedded.pid, "PostgreSQL does not run"
        return self._embedded.pid


class Server:
    """`sentiment serve` on one port for its whole life.

    Args:
        data_dir: its data folder.
        variables: environment variables.

    Attributes:
        away: when it could not be reached, from and to in seconds of `time.monotonic`.
        peak_bytes: of resident memory, of all its processes so far.
        spooled: rows that went to the spool, as it said before each end.
    """

    def __init__(self, data_dir: Path, **variables: str) -> None:
        self.port = quiet_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.away: list[tuple[float, float]] = []
        self.peak_bytes = 0
        self._spooled = [0]
        self._data_dir, self._variables = data_dir, variables
        self._running = ExitStack()
        self._now = self._enter()

    @property
    def spooled(self) -> int:
        return sum(self._spooled)

    def start(self, **variables: str) -> None:
        """Start it again, with other variables if it is told so."""
        self._variables |= variables
        self._now = self._enter()
        self._spooled.append(0)
        self.away[-1] = (self.away[-1][0], time.monotonic())

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it as Kubernetes does."""
        status = self._end(signal.SIGTERM)
        assert status == 0, f"the server ended with status {status}"

    def close(self) -> None:
        """Stop it if it runs."""
        self._running.close()

    def health(self) -> dict[str, Any]:
        answer: dict[str, Any] = httpx.get(f"{self.url}/health", timeout=ANSWER_SECONDS).json()
        return answer

    @property
    def ready(self) -> bool:
        """Whether Kubernetes would send requests to it."""
        return httpx.get(f"{self.url}/health/ready", timeout=ANSWER_SECONDS).is_success

    def look(self) -> None:
        """Note its memory and what it has spooled."""
        status = Path(f"/proc/{self._now.process.pid}/status").read_text()
        if peak := PEAK.search(status):
            self.peak_bytes = max(self.peak_bytes, int(peak[1]) * 1024)
        metrics = httpx.get(f"{self.url}/metrics", timeout=ANSWER_SECONDS).text
        for family in text_string_to_metric_families(metrics):
            if family.name == "sentiment_spooled_rows":
                self._spooled[-1] = int(family.samples[0].value)

    def _end(self, how: signal.Signals) -> int:
        self.look()
        self.away.append((time.monotonic(), float("inf")))
        status = self._now.stop(by=how)
        self._running.close()
        return status

    def _enter(self) -> RunningServer:
        flags = ["--port", str(self.port)]
        server = running_server(self._data_dir, *flags, **self._variables)
        return self._running.enter_context(server)


def _send(how: signal.Signals, pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # a worker that has just ended
            os.kill(pid, how)


def _children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def left_in(folder: Path) -> list[str]:
    """Command lines of processes that work in a folder or were started with it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if str(folder) in command or folder in (process / "cwd").readlink().parents:
                found.append(command)
        except (OSError, PermissionError):  # it has just ended, or is not ours
            continue
    return found
