"""Whether we had our cores to ourselves: the share of their time that other processes took."""

import time
from collections.abc import Iterable
from pathlib import Path

from .machine import TICKS

# Among the numbers of a line of /proc/stat: idle, waiting for a disk, stolen.
NOT_BUSY = (3, 4, 7)


def busy_seconds(cores: Iterable[int]) -> float:
    """The time that some cores have worked so far, whoever for, in steps of 0.01 s."""
    names, ticks = {f"cpu{core}" for core in cores}, 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *numbers = line.split()
        if name in names:
            ticks += sum(map(int, numbers[:8])) - sum(int(numbers[place]) for place in NOT_BUSY)
    return ticks / TICKS


class Neighbours:
    """Watches some cores from now on.

    Args:
        cores: that this process is pinned to.
    """

    def __init__(self, cores: Iterable[int]) -> None:
        self._cores = list(cores)
        self._since = self._read()

    def share(self) -> float:
        """What others have taken of the cores' time, between 0 and 1."""
        (others, now), (others_before, before) = self._read(), self._since
        return max(0.0, (others - others_before) / (now - before) / len(self._cores))

    def _read(self) -> tuple[float, float]:
        return busy_seconds(self._cores) - time.process_time(), time.monotonic()
