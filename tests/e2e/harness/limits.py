"""What a container has used of its limits, as its own cgroup says."""

from dataclasses import dataclass

from .namespace import Namespace
from .programs import CommandFailed

MIB = 2**20
CPU_STAT = ("/sys/fs/cgroup/cpu.stat", "/sys/fs/cgroup/cpu/cpu.stat")
MEMORY_PEAK = ("/sys/fs/cgroup/memory.peak", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes")


@dataclass(frozen=True, slots=True)
class Used:
    """Peak memory of the whole container (page cache included), peak RSS of its first process,
    and the share of scheduling periods in which it wanted more CPU than its limit."""

    memory_peak_mib: float
    rss_peak_mib: float
    periods: int
    throttled: int

    def throttled_share(self, before: "Used") -> float:
        periods = self.periods - before.periods
        return round((self.throttled - before.throttled) / periods, 3) if periods else 0.0


def used(namespace: Namespace, pod: str, container: str = "sentiment") -> Used:
    """Read it inside the container, cgroup v2 or v1."""

    def read(*paths: str) -> str:
        for path in paths:
            try:
                return namespace.kubectl("exec", pod, "--container", container, "--", "cat", path)
            except CommandFailed:
                continue
        raise AssertionError(f"{pod} has none of {paths}")

    def field(text: str, name: str) -> int:
        lines = (line.split() for line in text.splitlines())
        return next(int(words[1]) for words in lines if words and words[0] == name)

    cpu = read(*CPU_STAT)
    return Used(
        memory_peak_mib=round(int(read(*MEMORY_PEAK)) / MIB, 1),
        rss_peak_mib=round(field(read("/proc/1/status"), "VmHWM:") / 1024, 1),
        periods=field(cpu, "nr_periods"),
        throttled=field(cpu, "nr_throttled"),
    )
