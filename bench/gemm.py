"""The peak of matrix products by ONNX Runtime, float32 and int8, beside numpy's (sgemm.py).

Import this only when pinned, and after `honest_openblas`.
"""

import os
import time
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Precision = Literal["fp32", "int8"]
Factors = tuple[int, int, int]  # rows, inner, columns

PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
SIZES = (512, 768, 1024, 1536, 2048)
SLICES = 3
SLICE_SECONDS = 0.12
# Where a virtual machine's CPU is newer than the OpenBLAS of some distribution, its environment may
# name an older CPU's kernels, which halves numpy's rate.
OPENBLAS_CHOICES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


@dataclass(frozen=True, slots=True)
class Peak:
    """The best rate that one library reached.

    Args:
        precision: of the factors.
        by: the library, its kernels where it says which.
        multiply_adds_a_second: in all threads together.
        size: of the square matrices that had it.
    """

    precision: Precision
    by: str
    multiply_adds_a_second: float
    size: int


def honest_openblas(threads: int, environ: MutableMapping[str, str] | None = None) -> None:
    """Let numpy's OpenBLAS choose its kernels by the CPU, and use so many threads.

    Only before numpy is imported: OpenBLAS looks once.
    """
    environ = os.environ if environ is None else environ
    for name in OPENBLAS_CHOICES:
        environ.pop(name, None)
    environ["OPENBLAS_NUM_THREADS"] = str(threads)


def peaks(threads: int) -> list[Peak]:
    """float32 by numpy and by ONNX Runtime, int8 (u8 times s8) by ONNX Runtime."""
    from . import sgemm

    rate, size = sgemm.peak()
    return [
        Peak("fp32", f"numpy ({sgemm.kernel()})", rate, size),
        _best("fp32", threads),
        _best("int8", threads),
    ]


def rate_at(precision: Precision, factors: Sequence[Factors], threads: int) -> float:
    """Multiply-adds a second over some products, one after the other, each as often as it stands
    there: the rate of a network's own matrices, which are smaller than what has the peak."""
    each = {one: _rate(precision, one, threads) for one in dict.fromkeys(factors)}
    return sum(map(_work, factors)) / sum(_work(one) / each[one] for one in factors)


def _best(precision: Precision, threads: int) -> Peak:
    import onnxruntime

    rate, size = max((_rate(precision, (size, size, size), threads), size) for size in SIZES)
    kind = {"fp32": "MatMul", "int8": "MatMulInteger"}[precision]
    return Peak(precision, f"ONNX Runtime {onnxruntime.__version__} ({kind})", rate, size)


def _rate(precision: Precision, factors: Factors, threads: int) -> float:
    multiply = _product(precision, factors, threads)
    multiply()
    return max(_slice(multiply) for _ in range(SLICES)) * _work(factors)


def _slice(multiply: Callable[[], object]) -> float:
    products, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < SLICE_SECONDS:
        multiply()
        products += 1
    return products / elapsed


def _work(factors: Factors) -> int:
    rows, inner, columns = factors
    return rows * inner * columns


def _product(precision: Precision, factors: Factors, threads: int) -> Callable[[], object]:
    """A product whose right factor is a constant, as a network's weights are, so that the session
    packs it once; input and output stay where they are."""
    import numpy as np
    import onnxruntime as ort

    rows, inner, columns = factors
    random = np.random.default_rng(0)
    left: Any
    if precision == "fp32":
        left = random.random((rows, inner), np.float32)
        right = random.random((inner, columns), np.float32)
    else:
        left = random.integers(0, 256, (rows, inner), np.uint8)
        right = random.integers(-64, 65, (inner, columns), np.int8)  # a reduced range, as ours
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(
        _model(precision, right), options, providers=["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    binding.bind_cpu_input("left", left)
    output = np.empty((rows, columns), np.float32 if precision == "fp32" else np.int32)
    binding.bind_output("product", "cpu", 0, output.dtype, output.shape, output.ctypes.data)
    kept = (left, output)  # the binding only has their addresses

    def multiply() -> object:
        session.run_with_iobinding(binding)
        return kept

    return multiply


def _model(precision: Precision, right: Any) -> bytes:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    constants = [numpy_helper.from_array(right, "right")]
    inputs = ["left", "right"]
    if precision == "int8":
        constants += [
            numpy_helper.from_array(np.array(128, np.uint8), "left_zero"),
            numpy_helper.from_array(np.array(0, np.int8), "right_zero"),
        ]
        inputs += ["left_zero", "right_zero"]
    kind, given, made = {
        "fp32": ("MatMul", TensorProto.FLOAT, TensorProto.FLOAT),
        "int8": ("MatMulInteger", TensorProto.UINT8, TensorProto.INT32),
    }[precision]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, ["product"])],
        "product",
        [helper.make_tensor_value_info("left", given, [None, right.shape[0]])],
        [helper.make_tensor_value_info("product", made, [None, right.shape[1]])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    serialised: bytes = model.SerializeToString()
    return serialised
