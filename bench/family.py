"""A server's processes, however many and whoever their parent is now: time, memory, end."""

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from .machine import TICKS, peak_rss_mib

MARK = "BENCH_FAMILY"
END_SECONDS = 5.0


class Family:
    """The processes that carry a mark in their environment, and all that descend from them.

    A mark outlives a parent's death; a process that writes over its environment (Ray's name
    themselves so) is found by its parents, and once found is known.

    Args:
        name: of the mark, unique; "" for none.
        first: a process that belongs to it without a mark.
    """

    def __init__(self, name: str, first: int | None = None) -> None:
        self._entry = f"{MARK}={name}".encode() if name else None
        self.mark = {MARK: name} if name else {}
        self._known: dict[int, int] = {}  # the start, since a number may come again
        if first is not None:
            self._known[first] = _started(first)

    def pids(self) -> set[int]:
        """Those that run now."""
        parents: dict[int, int] = {}
        starts: dict[int, int] = {}
        for pid in _processes():
            try:
                fields = _stat(pid)
            except OSError:
                continue
            if fields[0] != "Z":
                parents[pid], starts[pid] = int(fields[1]), int(fields[19])
        found = {pid for pid, start in self._known.items() if starts.get(pid) == start}
        found |= {pid for pid in parents if pid not in found and self._has_mark(pid)}
        grown = True
        while grown:
            children = {pid for pid, parent in parents.items() if parent in found} - found
            found |= children
            grown = bool(children)
        self._known = {pid: starts[pid] for pid in found}
        return found

    def cpu_seconds(self) -> float:
        """CPU time of all of them, those that they have waited for included."""
        return sum(_cpu_seconds(self.pids()))

    def memory_mib(self) -> float:
        """One process: the most that it has had resident (VmHWM). Several: what they have now,
        shared pages counted once (the sum of Pss)."""
        pids = self.pids()
        if len(pids) == 1:
            return peak_rss_mib(*pids)
        return sum(map(_pss_mib, pids))

    def hold(self, cores: Iterable[int]) -> int:
        """Bring back to `cores` the threads that have pinned themselves elsewhere; how many."""
        wanted, strayed = set(cores), 0
        for pid in self.pids():
            for thread in _threads(pid):
                try:
                    if not os.sched_getaffinity(thread) <= wanted:
                        os.sched_setaffinity(thread, wanted)
                        strayed += 1
                except ProcessLookupError:
                    continue  # it ended
        return strayed

    def end(self) -> None:
        """End those that still run: asked first, then not."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.pids():
                _signal(pid, how)
            deadline = time.monotonic() + END_SECONDS
            while self.pids() and time.monotonic() < deadline:
                time.sleep(0.05)

    def _has_mark(self, pid: int) -> bool:
        if self._entry is None:
            return False
        try:
            return self._entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False  # it ended, or is somebody else's


def _processes() -> list[int]:
    return [int(one.name) for one in Path("/proc").iterdir() if one.name.isdecimal()]


def _threads(pid: int) -> list[int]:
    try:
        return [int(one.name) for one in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return []


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state (number 3 in proc(5)) on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _started(pid: int) -> int:
    return int(_stat(pid)[19])


def _cpu_seconds(pids: Iterable[int]) -> Iterable[float]:
    for pid in pids:
        try:
            yield sum(map(int, _stat(pid)[11:15])) / TICKS
        except OSError:
            continue  # it ended


def _pss_mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def _signal(pid: int, how: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, how)
