"""What the cores could multiply at most: their clock, and multiply-adds a cycle by their flags."""

import ctypes
import mmap
import platform
import time
from collections.abc import Callable, Iterable

# imul has a latency of 3 cycles on every x86-64 from Nehalem and Zen on (uops.info), and nothing
# shortens a chain of them, unlike one of additions.
LATENCY = 3
CHAIN = 64  # multiplications a turn; dec and jnz run beside them
TURNS = 20_000  # about a millisecond, so that some try is not interrupted
TRIES = 200

# With two units of the width that a flag promises, as nearly all CPUs that have it; some have one
# such unit, or halve it, and then reach half. AVX2 without VNNI needs two multiplying instructions
# for 32 int8 products.
A_CYCLE = {
    "fp32": [("avx512f", 32), ("avx2", 16)],
    "int8": [
        ("amx_int8", 1024),
        ("avx512_vnni", 128),
        ("avx_vnni", 64),
        ("avx512f", 64),
        ("avx2", 32),
    ],
}


def multiply_adds_a_cycle(precision: str, flags: Iterable[str]) -> int | None:
    """The most of one core; None where the flags are unknown.

    Args:
        precision: fp32 or int8.
        flags: as /proc/cpuinfo names them.
    """
    known = set(flags)
    return next((most for flag, most in A_CYCLE[precision] if flag in known), None)


def hertz() -> float | None:
    """Cycles a second under a full load of one core, best of some tries; virtual machines tell it
    nowhere. None where it cannot be measured (no x86-64, or memory that may not be run)."""
    if platform.machine() not in {"x86_64", "AMD64"}:
        return None
    multiply = b"\x48\x0f\xaf\xc0" * CHAIN  # imul rax, rax
    back = -(len(multiply) + 3 + 6)
    code = multiply + b"\x48\xff\xcf\x0f\x85" + back.to_bytes(4, "little", signed=True) + b"\xc3"
    allowed = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    try:
        memory = mmap.mmap(-1, mmap.PAGESIZE, prot=allowed)
    except OSError:
        return None
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    run: Callable[[int], int] = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)(address)
    return TURNS * CHAIN * LATENCY / min(_seconds(run) for _ in range(TRIES))


def _seconds(run: Callable[[int], int]) -> float:
    started = time.perf_counter()
    run(TURNS)
    return time.perf_counter() - started
