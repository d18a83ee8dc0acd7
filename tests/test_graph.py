"""The rewrites of a fused encoder keep what it computes."""

from collections import Counter
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from sentiment_k8s.graph import keep_first_token, split_layer_norms

HIDDEN, INNER, LABELS = 8, 16, 2
RANDOM = np.random.default_rng(1)


def weights(name: str, *shape: int) -> TensorProto:
    return numpy_helper.from_array(RANDOM.normal(size=shape).astype(np.float32), name)


def fused_layer(number: int, hidden: str) -> tuple[list[Any], list[TensorProto], str]:
    """A BERT layer as ONNX Runtime's optimiser writes it: nodes, constants, output's name."""

    def name(part: str) -> str:
        return f"layer{number}.{part}"

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:
        domain = "" if kind in {"MatMul", "Gelu"} else "com.microsoft"
        return helper.make_node(
            kind, inputs, [name(output)], name=name(output), domain=domain, **attributes
        )

    def skip(added: str, skipped: str, output: str) -> Any:
        constants = [name(f"{output}.scale"), name(f"{output}.shift"), name(f"{output}.bias")]
        inputs = [added, skipped, *constants]
        return node("SkipLayerNormalization", inputs, output, epsilon=1e-5)

    nodes = [
        node("Attention", [hidden, name("qkv"), name("qkv.bias")], "attended", num_heads=2),
        node("MatMul", [name("attended"), name("projection")], "projected"),
        skip(name("projected"), hidden, "middle"),
        node("MatMul", [name("middle"), name("inner")], "widened"),
        node("FastGelu", [name("widened")], "active"),
        node("MatMul", [name("active"), name("outer")], "narrowed"),
        skip(name("narrowed"), name("middle"), "output"),
    ]
    constants = [
        weights(name("qkv"), HIDDEN, 3 * HIDDEN),
        weights(name("qkv.bias"), 3 * HIDDEN),
        weights(name("projection"), HIDDEN, HIDDEN),
        weights(name("inner"), HIDDEN, INNER),
        weights(name("outer"), INNER, HIDDEN),
        *(
            weights(name(f"{norm}.{part}"), HIDDEN)
            for norm in ("middle", "output")
            for part in ("scale", "shift", "bias")
        ),
    ]
    return nodes, constants, name("output")


def encoder(*, token: int = 0, layers: int = 2, node: bool = False) -> ModelProto:
    """A fused encoder whose head reads one token, whose number is a constant or, as torch's
    exporter writes it, a node."""
    nodes, constants, hidden = [], [], "embedded"
    for layer in range(layers):
        more, needed, hidden = fused_layer(layer, hidden)
        nodes += more
        constants += needed
    number = numpy_helper.from_array(np.array(token, np.int64), "token")
    if node:
        nodes += [helper.make_node("Constant", [], ["token"], value=number)]
    else:
        constants += [number]
    constants += [weights("head", HIDDEN, LABELS)]
    nodes += [helper.make_node("Gather", [hidden, "token"], ["pooled"], axis=1)]
    nodes += [helper.make_node("MatMul", ["pooled", "head"], ["logits"])]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("embedded", TensorProto.FLOAT, ["n", "length", HIDDEN])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", LABELS])],
        constants,
    )
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=8)


def logits(model: ModelProto) -> Any:
    session = ort.InferenceSession(
        model.SerializeToString(),
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["SkipLayerNormFusion"],
    )
    embedded = np.random.default_rng(2).normal(size=(3, 5, HIDDEN)).astype(np.float32)
    return session.run(["logits"], {"embedded": embedded})[0]


def kinds(model: ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("node", [False, True])
def test_the_last_layer_of_one_token_gives_the_same_logits(node: bool) -> None:
    model = encoder(node=node)
    before = logits(model)
    assert keep_first_token(model.graph)
    assert kinds(model)["Slice"] == 2
    np.testing.assert_allclose(logits(model), before, atol=1e-5)


@pytest.mark.parametrize("node", [False, True])
def test_a_head_that_reads_another_token_keeps_them_all(node: bool) -> None:
    model = encoder(token=1, node=node)
    assert not keep_first_token(model.graph)
    assert kinds(model)["Slice"] == 0


def test_a_graph_without_fused_attention_is_left_alone() -> None:
    model = encoder(layers=0)
    before = model.SerializeToString()
    assert not keep_first_token(model.graph)
    assert split_layer_norms(model.graph) == 0
    assert model.SerializeToString() == before


@pytest.mark.parametrize("first_token", [False, True])
def test_split_layer_norms_give_the_same_logits(first_token: bool) -> None:
    model = encoder()
    before = logits(model)
    if first_token:
        keep_first_token(model.graph)
    assert split_layer_norms(model.graph) == 4
    assert kinds(model)["SkipLayerNormalization"] == 0
    assert kinds(model)["LayerNormalization"] == 4
    np.testing.assert_allclose(logits(model), before, atol=1e-4)
