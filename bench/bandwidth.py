"""How fast the cores that we are pinned to read and write: from memory, and from their caches.

Import this only when pinned, and after `gemm.honest_openblas`.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Work = Callable[[Array, Array, Array], object]

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
SUFFIXES = {"K": 2**10, "M": 2**20, "G": 2**30}
SLICES = 5
SLICE_SECONDS = 0.1
BEYOND = 8  # times the last-level cache: nothing of an array is left when its turn comes again
LEAST_BEYOND = 256 * 2**20
SCALE = np.float32(3)


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """Bytes a second, all threads together.

    Args:
        where: what the arrays fit in.
        working_set: bytes of the array that is read; copy and triad share it among theirs.
        read: of one array, by numpy's dot product with itself.
        copy: read and written.
        triad: a = b + s * c, which numpy does in two passes, so that five arrays go by instead of
            STREAM's three; like there, a line that is only fetched to be written is not counted
            (McCalpin, cs.virginia.edu/stream).
    """

    where: str
    working_set: int
    read: float
    copy: float
    triad: float


def caches() -> dict[int, int]:
    """Bytes of one data cache of each level; empty where the system tells none."""
    found = {}
    for index in CACHES.glob("index*"):
        if (index / "type").read_text().strip() != "Instruction":
            size = (index / "size").read_text().strip()
            number = int(size.rstrip("KMG")) * SUFFIXES.get(size[-1], 1)
            found[int((index / "level").read_text())] = number
    return found


def levels(threads: int) -> dict[str, int]:
    """Working sets that fit each cache from the second on, with room to spare, and one that fits
    none."""
    known = caches()
    shared = max(known, default=0)
    sets = {
        f"L{level} cache": size // 2 * (1 if level == shared else threads)
        for level, size in sorted(known.items())
        if level > 1
    }
    return sets | {"memory": max(LEAST_BEYOND, BEYOND * max(known.values(), default=0))}


def measure(where: str, working_set: int, threads: int) -> Bandwidth:
    """Each thread on a part of its own."""
    count = working_set // 4 // threads
    with ThreadPoolExecutor(threads) as pool:

        def rate(work: Work, arrays: int, moved: int) -> float:
            """`arrays` share the set, and `moved` times the length of one goes by a turn."""
            length = count // arrays
            parts = [tuple(np.ones(length, np.float32) for _ in range(3)) for _ in range(threads)]
            turns = 1
            while _seconds(pool, work, parts, turns) < SLICE_SECONDS / 4:
                turns *= 2
            best = min(_seconds(pool, work, parts, 4 * turns) for _ in range(SLICES))
            return 4 * turns * threads * length * moved * 4 / best

        return Bandwidth(
            where=where,
            working_set=working_set,
            read=rate(lambda a, _b, _c: np.dot(a, a), 1, 1),
            copy=rate(lambda a, b, _c: np.copyto(a, b), 2, 2),
            triad=rate(_triad, 3, 5),
        )


def _triad(a: Array, b: Array, c: Array) -> None:
    np.multiply(c, SCALE, out=a)
    np.add(a, b, out=a)


def _seconds(
    pool: ThreadPoolExecutor, work: Work, parts: list[tuple[Array, ...]], turns: int
) -> float:
    def several(arrays: tuple[Array, ...]) -> None:
        for _ in range(turns):
            work(*arrays)

    started = time.perf_counter()
    list(pool.map(several, parts))
    return time.perf_counter() - started
