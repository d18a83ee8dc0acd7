"""The machine under the measurement: what it is, who else used it, and which cores we may use."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "avx512_bf16", "asimddp", "i8mm")
# Seconds: a virtual machine may stand still for longer, and then what is measured in it is wrong.
LONGEST_GAP = 0.3
TICKS = os.sysconf("SC_CLK_TCK")


def cache() -> Path:
    """Where the benchmarks keep what is too large to commit; on a disk, unlike /tmp on many a
    machine, so that PostgreSQL's fsync costs what it costs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "sentiment-k8s", "bench")


def facts() -> dict[str, object]:
    """CPU model, the flags that matter for matrix products, cores, memory, governor, load."""
    return {
        "cpu": _cpuinfo("model name") or os.uname().machine,
        "flags": [flag for flag in FLAGS if flag in _flags()],
        "cores": os.cpu_count(),
        "memory_gib": round(_memory_kib() / 2**20, 1),
        "governor": governor(),
        "kernel": os.uname().release,
        "load_at_start": os.getloadavg()[0],
    }


def described() -> str:
    """The facts as a line of prose."""
    known = facts()
    flags = known["flags"]
    assert isinstance(flags, list)
    return (
        f"{known['cpu']} ({', '.join(flags) or 'no vector flags known'}), {known['cores']} cores, "
        f"{known['memory_gib']} GiB, governor {known['governor']}, Linux {known['kernel']}, "
        f"load {known['load_at_start']:.2f} at start"
    )


def governor() -> str:
    """The frequency governor, "unknown" in most virtual machines."""
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return path.read_text().strip() if path.exists() else "unknown"


@contextmanager
def pinned(cores: Iterable[int]) -> Iterator[None]:
    """Keep this thread, and what it starts meanwhile, on `cores`."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def parse_cores(text: str) -> list[int]:
    """`0`, `0,1` or `0-3` as a list of core numbers."""
    cores: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        cores.extend(range(int(first), int(last or first) + 1))
    return cores


class StolenTime:
    """The share of some cores' time that the hypervisor gave to others since this was made."""

    def __init__(self, cores: Iterable[int]) -> None:
        self._names = {f"cpu{core}" for core in cores}
        self._before = self._read()

    def share(self) -> float:
        """Between 0 and 1."""
        stolen, total = (now - then for now, then in zip(self._read(), self._before, strict=True))
        return stolen / total if total else 0.0

    def _read(self) -> tuple[int, int]:
        stolen = total = 0
        for line in Path("/proc/stat").read_text().splitlines():
            name, *numbers = line.split()
            if name in self._names:
                ticks = list(map(int, numbers[:8]))
                stolen, total = stolen + ticks[7], total + sum(ticks)
        return stolen, total


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def family_cpu_seconds(pid: int) -> float:
    """CPU time of a process and of its children that still run."""
    total = cpu_seconds(pid)
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(OSError):  # it has ended meanwhile
            total += cpu_seconds(int(child))
    return total


def peak_rss_mib(pid: int) -> float:
    """The most memory that a process has had resident (VmHWM), in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"process {pid} has no VmHWM")


def _cpuinfo(field: str) -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""


def _flags() -> set[str]:
    return set((_cpuinfo("flags") or _cpuinfo("Features")).split())


def _memory_kib() -> int:
    return int(Path("/proc/meminfo").read_text().split()[1])
