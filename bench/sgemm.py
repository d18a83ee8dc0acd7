"""The peak of float32 matrix products on the cores that we are pinned to.

Import this only when pinned, and with OPENBLAS_NUM_THREADS set: OpenBLAS looks once.
"""

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIZES = (512, 768, 1024, 1536, 2048)
SLICES = 3
SLICE_SECONDS = 0.12


def peak() -> tuple[float, int]:
    """Multiply-adds a second, and the size of square matrices that had them."""
    return max((_rate(size), size) for size in SIZES)


def kernel() -> str:
    """What numpy multiplies with: OpenBLAS's own name for the kernels it chose, its threads."""
    library = _openblas()
    if library is None:
        config: Any = np.show_config(mode="dicts")
        blas = config["Build Dependencies"]["blas"]
        return f"{blas['name']} {blas['version']}"
    name: bytes = _function(library, "get_corename", ctypes.c_char_p)()
    threads: int = _function(library, "get_num_threads", ctypes.c_int)()
    return f"OpenBLAS {name.decode()} kernels, {threads} thread{'s' if threads > 1 else ''}"


def _rate(size: int) -> float:
    random = np.random.default_rng(0)
    left, right = (random.random((size, size), np.float32) for _ in range(2))
    out = np.empty((size, size), np.float32)
    np.matmul(left, right, out=out)
    return max(_slice(left, right, out) for _ in range(SLICES))


def _slice(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> float:
    products, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < SLICE_SECONDS:
        np.matmul(left, right, out=out)
        products += 1
    return products * len(out) ** 3 / elapsed


def _openblas() -> ctypes.CDLL | None:
    libraries = Path(np.__file__).parent.parent / "numpy.libs"
    found = next(iter(libraries.glob("*openblas*")), None)
    return ctypes.CDLL(str(found)) if found else None


def _function(library: ctypes.CDLL, name: str, result: type) -> Callable[[], Any]:
    for pattern in ("scipy_openblas_{}64_", "openblas_{}64_", "openblas_{}"):
        if function := getattr(library, pattern.format(name), None):
            function.restype = result
            return function  # type: ignore[no-any-return]
    raise AttributeError(name)
