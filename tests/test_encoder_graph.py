"""What is an encoder, and what is left to ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, helper, numpy_helper

from sentiment_k8s import onnx_file
from sentiment_k8s.encoder import check, load_encoder
from sentiment_k8s.encoder_graph import Encoder, NotAnEncoder, find_encoder
from sentiment_k8s.hub import BUNDLED
from sentiment_k8s.onnx_engine import OnnxEngine
from sentiment_k8s.tokenizer import Tokens

from .tiny_encoders import HEADS, HIDDEN, LABELS, LAYERS, VOCABULARY, WIDE, TinyEncoder
from .tiny_models import write_tiny_model


def found(model: ModelProto, folder: Path) -> Encoder:
    onnx.save(model, folder / "model.onnx")
    encoder = find_encoder(onnx_file.read(folder / "model.onnx"))
    check(encoder, vnni=True)
    return encoder


def node(model: ModelProto, kind: str) -> onnx.NodeProto:
    return next(each for each in model.graph.node if each.op_type == kind)


def constant(model: ModelProto, name: str) -> onnx.TensorProto:
    return next(each for each in model.graph.initializer if each.name == name)


def test_the_parts_of_an_encoder(tmp_path: Path) -> None:
    encoder = found(TinyEncoder().model(), tmp_path)
    assert encoder.embeddings.words.shape == (VOCABULARY, HIDDEN)
    assert len(encoder.layers) == LAYERS
    assert encoder.layers[0].heads == HEADS
    assert encoder.layers[1].widening.weights.shape == (HIDDEN, WIDE)
    assert encoder.classifier.weights.shape == (HIDDEN, LABELS)
    assert encoder.activation == "Tanh"


def test_the_bundled_model_is_one() -> None:
    encoder = find_encoder(onnx_file.read(BUNDLED / "model.onnx"))
    check(encoder, vnni=False)
    assert len(encoder.layers) == 6
    assert encoder.layers[0].inward.weights.dtype == np.int8
    assert encoder.layers[0].widening.factors is not None


def test_a_bag_of_words_is_none(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    with pytest.raises(NotAnEncoder, match="embeddings are not fused"):
        find_encoder(onnx_file.read(folder / "model.onnx"))


def test_a_graph_that_computes_more_is_none(tmp_path: Path) -> None:
    model = TinyEncoder().model()
    model.graph.node.append(helper.make_node("Neg", ["logits"], ["turned"]))
    with pytest.raises(NotAnEncoder, match="1 more nodes"):
        found(model, tmp_path)


@pytest.mark.parametrize(
    ("kind", "becomes", "complaint"),
    [
        ("Tanh", "Sigmoid", "kind"),
        ("BiasGelu", "FastGelu", "kind"),
        ("Gather", "GatherElements", "first token"),
        ("LayerNormalization", "Softmax", "kind"),
        ("Attention", "LongformerAttention", "kind"),
    ],
)
def test_another_operation_in_its_place_makes_it_none(
    kind: str, becomes: str, complaint: str, tmp_path: Path
) -> None:
    model = TinyEncoder().model()
    node(model, kind).op_type = becomes
    with pytest.raises(NotAnEncoder, match=complaint):
        found(model, tmp_path)


@pytest.mark.parametrize(
    ("kind", "attribute", "value"),
    [
        ("Attention", "unidirectional", 1),
        ("Attention", "scale", 0.5),
        ("Attention", "do_rotary", 1),
        ("Gemm", "alpha", 2.0),
        ("Gemm", "transA", 1),
        ("LayerNormalization", "axis", 1),
        ("Gather", "axis", 0),
    ],
)
def test_an_operation_of_another_kind_makes_it_none(
    kind: str, attribute: str, value: float, tmp_path: Path
) -> None:
    model = TinyEncoder().model()
    attributes = node(model, kind).attribute
    kept = [each for each in attributes if each.name != attribute]
    del attributes[:]
    attributes.extend([*kept, helper.make_attribute(attribute, value)])
    with pytest.raises(NotAnEncoder):
        found(model, tmp_path)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("first", np.array(1)),  # the head reads the second token
        ("b11", np.array([2])),  # the last layer goes on with two
    ],
)
def test_another_token_than_the_first_makes_it_none(
    name: str, values: np.ndarray[tuple[int, ...], np.dtype[np.int64]], tmp_path: Path
) -> None:
    model = TinyEncoder().model()
    constant(model, name).CopyFrom(numpy_helper.from_array(values, name))
    with pytest.raises(NotAnEncoder, match="first token"):
        found(model, tmp_path)


def test_a_residual_from_elsewhere_makes_it_none(tmp_path: Path) -> None:
    model = TinyEncoder(first_token=False).model()
    added = next(each for each in model.graph.node if each.output[0] == "layer_1_middle_sum")
    added.input[1] = "state_0"
    with pytest.raises(NotAnEncoder):
        found(model, tmp_path)


@pytest.mark.parametrize(
    ("name", "shape", "complaint"),
    [
        ("layer_1_wide_weights", (HIDDEN, 2 * WIDE), "one size"),
        ("layer_0_projected_biases", (HIDDEN // 2,), "one size"),
        ("positions", (40, HIDDEN // 2), "one size"),
        ("layer_0_middle_gamma", (1,), "one size"),
    ],
)
def test_parts_of_other_sizes_make_it_none(
    name: str, shape: tuple[int, ...], complaint: str, tmp_path: Path
) -> None:
    model = TinyEncoder().model()
    values = np.zeros(shape, np.float32)
    constant(model, name).CopyFrom(numpy_helper.from_array(values, name))
    with pytest.raises(NotAnEncoder, match=complaint):
        found(model, tmp_path)


def test_heads_that_are_too_narrow_for_the_vectors_make_it_none(tmp_path: Path) -> None:
    model = TinyEncoder().model()
    for each in model.graph.node:
        for attribute in each.attribute:
            if attribute.name == "num_heads":
                attribute.i = 4
    with pytest.raises(NotAnEncoder, match="not round enough"):
        found(model, tmp_path)


def change(model: ModelProto, draw: st.DataObject) -> None:
    """Change one thing of a graph."""
    at = draw.draw(st.integers(0, len(model.graph.node) - 1))
    node = model.graph.node[at]
    names = [name for each in model.graph.node for name in [*each.input, *each.output]]
    names += [each.name for each in model.graph.initializer] + ["token_type_ids", ""]
    match draw.draw(st.sampled_from(["input", "drop", "output", "attribute", "constant", "node"])):
        case "input" if node.input:
            which = draw.draw(st.integers(0, len(node.input) - 1))
            node.input[which] = draw.draw(st.sampled_from(names))
        case "drop" if node.input:
            del node.input[draw.draw(st.integers(0, len(node.input) - 1)) :]
        case "output":
            del node.output[:]
        case "attribute" if node.attribute:
            which = draw.draw(st.integers(0, len(node.attribute) - 1))
            value = draw.draw(st.sampled_from([None, 0, 1, 2, 0.5, "text", [1, 2]]))
            name = node.attribute[which].name
            del node.attribute[which]
            if value is not None:
                node.attribute.append(helper.make_attribute(name, value))
        case "constant":
            which = draw.draw(st.integers(0, len(model.graph.initializer) - 1))
            tensor = model.graph.initializer[which]
            values = numpy_helper.to_array(tensor)
            changed = draw.draw(
                st.sampled_from(
                    [
                        values.reshape(1, -1),
                        values.reshape(-1),
                        values[..., None],
                        values.reshape(-1)[:0],
                        np.ones_like(values),
                        values.astype(np.float64),
                        values.astype(np.int8),
                        values.T.copy(),
                    ]
                )
            )
            tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
        case _:
            del model.graph.node[at]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@settings(max_examples=150, derandomize=True)
@given(data=st.data())
def test_a_changed_graph_is_refused_or_computed_as_onnx_runtime_does(
    precision: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("changed")
    model = onnx.load(TinyEncoder().write(folder, precision))
    for _ in range(data.draw(st.integers(1, 2))):
        change(model, data)
    path = folder / "model.onnx"
    onnx.save(model, path)
    engine = load_encoder(path)  # raises nothing, whatever the file is
    if engine is None:
        return
    tokens = [Tokens([5, 6, 7, 8], [0, 1, 1, 0], False)]
    found = engine.run(tokens)
    try:
        expected = OnnxEngine(path, 1, 0).run(tokens)
    except Exception:  # it refuses more than we do
        return
    near, share = (1e-3, 1e-3) if precision == "fp32" else (0.3, 0.05)
    np.testing.assert_allclose(found, expected, atol=near, rtol=share)
