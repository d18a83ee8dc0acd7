from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from sentiment_k8s import onnx_file
from sentiment_k8s.hub import BUNDLED

from .tiny_encoders import TinyEncoder


def test_nodes_constants_and_metadata_are_those_that_onnx_reads(tmp_path: Path) -> None:
    for path in (BUNDLED / "model.onnx", TinyEncoder().write(tmp_path, "int8")):
        model, found = onnx.load(path), onnx_file.read(path)
        constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
        nodes = [node for node in model.graph.node if node.op_type != "Constant"]
        assert [(n.kind, n.inputs, n.outputs) for n in found.nodes] == [
            (n.op_type, list(n.input), list(n.output)) for n in nodes
        ]
        assert found.metadata == {each.key: each.value for each in model.metadata_props}
        assert set(constants) <= set(found.constants)
        for name, values in constants.items():
            assert found.constants[name].dtype == values.dtype
            np.testing.assert_array_equal(found.constants[name], values)
        for ours, node in zip(found.nodes, nodes, strict=True):
            for attribute in node.attribute:
                if attribute.type in (attribute.INT, attribute.FLOAT):
                    expected = helper.get_attribute_value(attribute)
                    assert ours.attributes[attribute.name] == expected


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (TensorProto.FLOAT, [1.5, -2.0]),
        (TensorProto.INT8, [-128, 127]),
        (TensorProto.UINT8, [0, 255]),
        (TensorProto.INT32, [-1, 7]),
        (TensorProto.INT64, [-(2**40), 2**40]),
    ],
)
@pytest.mark.parametrize("raw", [False, True])
def test_constants_are_read_in_each_way_that_they_are_written(
    kind: int, values: list[float], raw: bool, tmp_path: Path
) -> None:
    tensor = helper.make_tensor("it", kind, [2, 1], values)
    if raw:
        tensor = numpy_helper.from_array(numpy_helper.to_array(tensor), "it")
    node = helper.make_node("Constant", [], ["given"], value=tensor)
    graph = helper.make_graph([node], "constants", [], [], [tensor])
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
    found = onnx_file.read(tmp_path / "model.onnx").constants
    for name in ("it", "given"):
        np.testing.assert_array_equal(found[name], numpy_helper.to_array(tensor))


def test_what_is_of_another_type_or_in_another_file_is_left_out(tmp_path: Path) -> None:
    half = helper.make_tensor("half", TensorProto.FLOAT16, [1], [1.0])
    away = numpy_helper.from_array(np.zeros(4, np.float32), "away")
    graph = helper.make_graph([], "constants", [], [], [half, away])
    onnx.save(
        helper.make_model(graph),
        tmp_path / "model.onnx",
        save_as_external_data=True,
        size_threshold=0,
    )
    assert onnx_file.read(tmp_path / "model.onnx").constants == {}


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "model.onnx"
    path.write_bytes(content)
    read_or_refuse(path)


@given(st.integers(0, 20_000), st.integers(0, 255))
def test_a_damaged_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int
) -> None:
    path = TinyEncoder().write(tmp_path_factory.mktemp("damaged"))
    content = bytearray(path.read_bytes())
    content[at % len(content)] = byte
    path.write_bytes(content[: len(content) - byte])
    read_or_refuse(path)


def read_or_refuse(path: Path) -> None:
    with suppress(ValueError):
        onnx_file.read(path)
