"""Where ONNX Runtime's time goes, operator by operator: its own profile, added up."""

import json
import math
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentiment_k8s.hub import ModelFiles
    from sentiment_k8s.tokenizer import Tokens

PRODUCTS, ATTENTION, OTHER = "matrix products", "attention, with its QKV product", "others"
BETWEEN, AROUND = "between nodes", "around the session, in Python"
KINDS = {
    PRODUCTS: {
        "MatMul",
        "FusedMatMul",
        "Gemm",
        "FusedGemm",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "DynamicQuantizeMatMul",  # quantises its input itself
        "MatMulNBits",
    },
    ATTENTION: {"Attention", "QAttention", "MultiHeadAttention"},
    "LayerNorm": {"LayerNormalization", "SkipLayerNormalization"},
    "embeddings": {"EmbedLayerNormalization", "QEmbedLayerNormalization", "Gather"},
    "GELU": {"Gelu", "BiasGelu", "FastGelu", "QuickGelu", "Erf"},
    "quantise, dequantise": {
        "DynamicQuantizeLinear",
        "QuantizeLinear",
        "DequantizeLinear",
        "Cast",
    },
    "sums and scales": {"Add", "Sub", "Mul", "Div"},
}


@dataclass(frozen=True, slots=True)
class Part:
    """What one kind of work took, all batches together.

    Args:
        kind: of `KINDS`, or what lies between and around the nodes.
        seconds: in all.
        multiply_adds: of its matrix products, on padding too.
    """

    kind: str
    seconds: float
    multiply_adds: int


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the time of some batches went.

    Args:
        seconds: of all, as the caller sees them; the parts add up to it.
        parts: the longest first.
    """

    seconds: float
    parts: list[Part]


def profile(files: "ModelFiles", threads: int, batches: Sequence[Sequence["Tokens"]]) -> Profile:
    """Run batches under the profiler, after one to warm up.

    Args:
        files: of the model.
        threads: of the session.
        batches: what the engine would be given.
    """
    from sentiment_k8s.model import Model

    with tempfile.TemporaryDirectory() as folder:
        model = Model(files, threads, "onnxruntime")
        session = _profiled(model.engine, files, Path(folder, "profile"))
        model.run(max(batches, key=lambda batch: len(batch) * len(batch[-1])))
        started = time.perf_counter()
        for batch in batches:
            model.run(batch)
        seconds = time.perf_counter() - started
        events = json.loads(Path(session.end_profiling()).read_text())
    return summed(_last_runs(events, len(batches)), seconds)


def summed(events: Iterable[Mapping[str, Any]], seconds: float) -> Profile:
    """The profile of some runs.

    Args:
        events: of these runs, as ONNX Runtime writes them: a node's kernel has the category
            `Node`, a run is `model_run` and what it executes `SequentialExecutor::Execute`, of the
            category `Session`; `dur` is in microseconds.
        seconds: of all runs, as their caller sees them.
    """
    spent: dict[str, float] = {}
    adds: dict[str, int] = {}
    nodes = executed = 0.0
    for event in events:
        taken = event["dur"] / 1e6
        if event["cat"] == "Node":
            kind = kind_of(event["args"]["op_name"])
            spent[kind] = spent.get(kind, 0.0) + taken
            adds[kind] = adds.get(kind, 0) + multiply_adds(kind, event["args"])
            nodes += taken
        elif event["name"] == "SequentialExecutor::Execute":
            executed += taken
    spent[BETWEEN] = executed - nodes
    spent[AROUND] = seconds - executed
    parts = [Part(kind, taken, adds.get(kind, 0)) for kind, taken in spent.items()]
    return Profile(seconds, sorted(parts, key=lambda part: -part.seconds))


def kind_of(operator: str) -> str:
    """The kind of work that an operator does."""
    return next((kind for kind, operators in KINDS.items() if operator in operators), OTHER)


def multiply_adds(kind: str, arguments: Mapping[str, Any]) -> int:
    """Those of a node's matrix products, from the shapes that its event has."""
    if kind == PRODUCTS:
        return math.prod(_shapes(arguments, "output")[0]) * _shapes(arguments, "input")[0][-1]
    if kind == ATTENTION:
        texts, tokens, width = _shapes(arguments, "output")[0]
        inner = _shapes(arguments, "input")[0][-1]
        return texts * tokens * (3 * inner * width + 2 * tokens * width)
    return 0


def _shapes(arguments: Mapping[str, Any], which: str) -> list[list[int]]:
    """Shapes without their types: `[{"float": [2, 3]}]` is `[[2, 3]]`."""
    return [next(iter(one.values())) for one in arguments[f"{which}_type_shape"]]


def _last_runs(events: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """The events of the last runs: those that ended after the run before them."""
    ends = sorted(one["ts"] + one["dur"] for one in events if one["name"] == "model_run")
    since = ends[-count - 1]
    return [one for one in events if one["ts"] >= since]


def _profiled(engine: Any, files: "ModelFiles", prefix: Path) -> Any:
    """Give an engine a session like its own, which keeps a profile."""
    import onnxruntime as ort

    options = engine._session.get_session_options()
    options.enable_profiling = True
    options.profile_file_prefix = str(prefix)
    engine._session = ort.InferenceSession(
        files.onnx,
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["SkipLayerNormFusion"],
    )
    return engine._session
