"""Outliers move from activations into weights, and what the graph computes stays."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from sentiment_k8s.smooth import largest_activations, smooth

onnx = pytest.importorskip("onnx", reason="the extra [export] (onnx) is not installed")

CHANNELS = 64
INPUT = np.random.default_rng(0).normal(size=(5, CHANNELS)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).normal(size=(CHANNELS, 8)).astype(np.float32)


def product() -> Any:
    """A graph that multiplies its input `x` by constant weights."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "product",
        [helper.make_tensor_value_info("x", kind, ["n", CHANNELS])],
        [helper.make_tensor_value_info("y", kind, ["n", 8])],
        [onnx.numpy_helper.from_array(WEIGHTS, "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def run(model: Any, values: Any) -> Any:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(["y"], {"x": values})[0]


def with_outlier() -> Any:
    values = INPUT.copy()
    values[:, 3] *= 50
    return values


def test_the_largest_value_of_each_channel_is_found(tmp_path: Path) -> None:
    onnx.save(product(), str(tmp_path / "model.onnx"))
    found = largest_activations(tmp_path / "model.onnx", [{"x": INPUT}, {"x": -2 * INPUT}])
    np.testing.assert_allclose(found["x"], 2 * np.abs(INPUT).max(axis=0))


def test_an_outlier_is_divided_and_the_result_stays() -> None:
    model, values = product(), with_outlier()
    expected = run(model, values)
    assert smooth(model.graph, {"x": np.abs(values).max(axis=0)}) == 1
    assert [node.op_type for node in model.graph.node] == ["Mul", "MatMul"]
    np.testing.assert_allclose(run(model, values), expected, rtol=1e-4, atol=1e-4)


def test_without_outliers_nothing_is_changed() -> None:
    model = product()
    assert smooth(model.graph, {"x": np.ones(CHANNELS, np.float32)}) == 0
    assert [node.op_type for node in model.graph.node] == ["MatMul"]
