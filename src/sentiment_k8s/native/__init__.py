"""The encoder in C, compiled for some kinds of x86-64 CPUs; which of them this one is."""

import ctypes
import hashlib
import platform
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE / "encoder.c"

# The best first: the CPU's flags as Linux names them, which the compiler is told too. The first two
# have VNNI: products of bytes that are added in 32 bits.
FLAGS = {
    "avx512vnni": ("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx2", "fma"),
    "avxvnni": ("avx_vnni", "avx2", "fma"),
    "avx2": ("avx2", "fma"),
}


def runnable(flags: frozenset[str]) -> list[str]:
    """The names of those that a CPU with these flags can run, the best first."""
    return [name for name, needed in FLAGS.items() if flags.issuperset(needed)]


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """What this machine's CPU can do; nothing where it is no x86-64 under Linux."""
    if platform.machine() != "x86_64":
        return frozenset()
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split() for line in lines if line.startswith("flags")), ()))


def compiled(name: str) -> Path:
    """Where the library of that name is, when it has been compiled."""
    return HERE / f"encoder-{name}.so"


def library(name: str) -> ctypes.CDLL | None:
    """The compiled encoder, None where it was not compiled, or from other sources than these."""
    try:
        found = ctypes.CDLL(str(compiled(name)))
        found.sources.restype = ctypes.c_uint64
        same = found.sources() == digest()
    except (OSError, AttributeError):
        return None
    return found if same else None


def digest() -> int:
    """Of the sources, by which a library says what it was compiled from."""
    content = b"".join(path.read_bytes() for path in (SOURCE, HERE / "vectors.h"))
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
