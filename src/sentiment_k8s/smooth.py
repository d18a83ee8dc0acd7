"""Outliers moved from activations into weights before int8 (Xiao et al. 2023, "SmoothQuant").

Dynamic quantisation has one scale for a whole activation, and a few channels of a fine-tuned BERT
are twenty times as large as the rest: these decide the scale, and the rest is left with a few
steps. So an outlying channel is divided, and its row of the weights that read it multiplied, by
the same number. On MiniLM-L6 it halves the change that int8 makes to the logits, and the
multiplication is too small to be seen in the speed.

Only for `export`: needs the onnx package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from onnx import GraphProto, NodeProto

    Vector = npt.NDArray[np.float32]

# A channel outlies when it is greater than this quantile of all; it is brought this part of the
# way to it (in logarithms), which leaves the weights some of their own steps.
QUANTILE = 0.95
STRENGTH = 0.75
LEAST = 1.5  # outliers smaller than this factor are left alone


def largest_activations(
    path: Path, batches: Iterable[Mapping[str, npt.NDArray[Any]]]
) -> dict[str, Vector]:
    """The largest absolute value of each channel that a MatMul with constant weights reads.

    Args:
        path: an ONNX file.
        batches: inputs by name.

    Returns:
        By the activation's name: float32 of shape (channels,).
    """
    import numpy as np
    import onnx
    import onnxruntime

    model = onnx.load(str(path))
    names = list(dict.fromkeys(node.input[0] for node in _products(model.graph)))
    if not names:
        return {}
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    largest: dict[str, Vector] = {}
    for batch in batches:
        for name, values in zip(names, session.run(names, dict(batch)), strict=True):
            found = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0)
            largest[name] = np.maximum(largest.get(name, found), found)
    return largest


def smooth(graph: GraphProto, largest: Mapping[str, Vector]) -> int:
    """Move outliers of the activations in `largest` into the weights, in place.

    Returns:
        The number of products that were changed; what the graph computes is the same.
    """
    import numpy as np
    from onnx import helper, numpy_helper

    weights = {one.name: one for one in graph.initializer}
    changed = 0
    for node in _products(graph):
        channels = largest[node.input[0]]
        usual = float(np.quantile(channels, QUANTILE))
        factors = np.maximum(1, channels / max(usual, 1e-12)) ** STRENGTH
        if factors.max() < LEAST:
            continue
        changed += 1
        old = numpy_helper.to_array(weights[node.input[1]])
        values = {
            f"{node.name}_smoothed": old * factors[:, None],
            f"{node.name}_factors": 1 / factors,
        }
        graph.initializer.extend(
            numpy_helper.from_array(value.astype(np.float32), name)
            for name, value in values.items()
        )
        smoothed, inverse = values
        read = f"{node.name}_read"
        at = list(graph.node).index(node)
        graph.node.insert(at, helper.make_node("Mul", [node.input[0], inverse], [read], name=read))
        node = graph.node[at + 1]
        node.input[:] = [read, smoothed]
    _drop_unread(graph)
    return changed


def _products(graph: GraphProto) -> list[NodeProto]:
    """MatMul nodes whose second input is a constant matrix."""
    matrices = {one.name for one in graph.initializer if len(one.dims) == 2}
    return [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in matrices]


def _drop_unread(graph: GraphProto) -> None:
    read = {name for node in graph.node for name in node.input}
    kept = [one for one in graph.initializer if one.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
