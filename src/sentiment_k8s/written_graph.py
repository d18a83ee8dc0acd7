"""Writes the ONNX graph of an encoder from its weights, fused from the beginning.

ONNX Runtime's optimiser finds the attention of BERT in a traced graph, and not that of DistilBERT
or RoBERTa as `transformers` computes it now. These are the same encoder with other names, so their
graph is written down instead of traced. `export` compares its logits with torch's.

Only for `export`: needs the onnx package.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from onnx import ModelProto, NodeProto, TensorProto

    Weights = dict[str, npt.NDArray[np.float32]]

OPSET = 17  # the newest that torch's TorchScript exporter writes, which traces all other models


@dataclass(frozen=True, slots=True)
class Names:
    """What `transformers` calls the parts of one family, and of its layers below `layers`."""

    embeddings: str
    layers: str
    query: str
    key: str
    value: str
    attended: str
    attention_norm: str
    wide: str
    narrow: str
    norm: str
    pooler: str
    classifier: str
    activation: str


BERT_LAYER = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
DISTILBERT = Names(
    "distilbert.embeddings",
    "distilbert.transformer.layer",
    "attention.q_lin",
    "attention.k_lin",
    "attention.v_lin",
    "attention.out_lin",
    "sa_layer_norm",
    "ffn.lin1",
    "ffn.lin2",
    "output_layer_norm",
    "pre_classifier",
    "classifier",
    "Relu",
)
ROBERTA = Names(
    "roberta.embeddings",
    "roberta.encoder.layer",
    *BERT_LAYER,
    "classifier.dense",
    "classifier.out_proj",
    "Tanh",
)
FAMILIES = {
    "distilbert": DISTILBERT,
    "roberta": ROBERTA,
    "camembert": ROBERTA,
    "xlm-roberta": ROBERTA,
}


def written(config: Any, weights: Weights) -> ModelProto | None:
    """The graph of a sequence classifier, None when it is not of a family that is written here.

    Args:
        config: its configuration, of `transformers`.
        weights: all its parameters by name.
    """
    names = FAMILIES.get(config.model_type)
    given = config.to_dict()
    usual = (
        given.get("hidden_act", given.get("activation")) == "gelu",
        given.get("position_embedding_type", "absolute") == "absolute",
        not given.get("is_decoder", False),
        given.get("type_vocab_size", 1) == 1,
    )
    if names is None or not all(usual):
        return None
    skipped = 0
    if names is ROBERTA:  # its positions begin after the number of its padding
        if config.pad_token_id is None:
            return None
        skipped = config.pad_token_id + 1
    epsilon = given.get("layer_norm_eps", 1e-12)
    return _Writer(names, weights, config.num_attention_heads, epsilon, skipped).model()


@dataclass(slots=True)
class _Writer:
    names: Names
    weights: Weights
    heads: int
    epsilon: float
    skipped_positions: int
    constants: list[TensorProto] = field(default_factory=list)

    def model(self) -> ModelProto:
        from onnx import TensorProto, helper

        nodes = list(self._nodes())
        for node in nodes:
            node.name = node.output[0]  # the quantiser tells nodes apart by it
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
            for name in ("input_ids", "attention_mask")
        ]
        output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "labels"])
        graph = helper.make_graph(nodes, "encoder", inputs, [output], self.constants)
        domains = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=domains, ir_version=8)

    def _nodes(self) -> Iterator[NodeProto]:
        import numpy as np
        from onnx import TensorProto

        for name in ("input_ids", "attention_mask"):
            yield _node("Cast", [name], f"{name}_int32", to=TensorProto.INT32)
        at = self.names.embeddings
        positions = self.weights[f"{at}.position_embeddings.weight"][self.skipped_positions :]
        if (kinds := self.weights.get(f"{at}.token_type_embeddings.weight")) is not None:
            positions = positions + kinds[0]  # all tokens are of the first kind
        yield _node(
            "EmbedLayerNormalization",
            [
                "input_ids_int32",
                "",
                self._weights(f"{at}.word_embeddings.weight"),
                self._constant("positions", positions),
                "",
                *self._weight_and_bias(f"{at}.LayerNorm"),
                "attention_mask_int32",
            ],
            "state_0",
            "mask",
            epsilon=self.epsilon,
        )
        layers = 0
        while f"{self.names.layers}.{layers}.{self.names.query}.weight" in self.weights:
            yield from self._layer(layers)
            layers += 1
        first = self._constant("first_token", np.array(0, np.int64))
        yield _node("Gather", [f"state_{layers}", first], "read", axis=1)
        yield _node("Gemm", ["read", *self._weight_and_bias(self.names.pooler)], "pooled", transB=1)
        yield _node(self.names.activation, ["pooled"], "active")
        yield _node(
            "Gemm", ["active", *self._weight_and_bias(self.names.classifier)], "logits", transB=1
        )

    def _layer(self, layer: int) -> Iterator[NodeProto]:
        import numpy as np

        names, at, state = self.names, f"{self.names.layers}.{layer}", f"state_{layer}"
        inward = [f"{at}.{name}" for name in (names.query, names.key, names.value)]
        matrices = np.hstack([self.weights[f"{name}.weight"].T for name in inward])
        biases = np.hstack([self.weights[f"{name}.bias"] for name in inward])
        yield _node(
            "Attention",
            [
                state,
                self._constant(f"{at}.inward.weight", matrices),
                self._constant(f"{at}.inward.bias", biases),
                "mask",
            ],
            f"{at}.context",
            num_heads=self.heads,
        )
        attended = f"{at}.{names.attended}"
        yield self._product(f"{at}.context", attended)
        yield self._added(attended, state, f"{at}.{names.attention_norm}", f"{at}.middle")
        yield self._product(f"{at}.middle", f"{at}.{names.wide}")
        bias = self._weights(f"{at}.{names.wide}.bias")
        yield _node("BiasGelu", [f"{at}.{names.wide}.product", bias], f"{at}.wide")
        yield self._product(f"{at}.wide", f"{at}.{names.narrow}")
        norm = f"{at}.{names.norm}"
        yield self._added(f"{at}.{names.narrow}", f"{at}.middle", norm, f"state_{layer + 1}")

    def _product(self, value: str, linear: str) -> NodeProto:
        matrix = self._constant(f"{linear}.weight", self.weights[f"{linear}.weight"].T)
        return _node("MatMul", [value, matrix], f"{linear}.product")

    def _added(self, linear: str, residual: str, norm: str, output: str) -> NodeProto:
        bias = self._weights(f"{linear}.bias")
        read = [f"{linear}.product", residual, *self._weight_and_bias(norm), bias]
        return _node("SkipLayerNormalization", read, output, epsilon=self.epsilon)

    def _weight_and_bias(self, name: str) -> list[str]:
        return [self._weights(f"{name}.weight"), self._weights(f"{name}.bias")]

    def _weights(self, name: str) -> str:
        return self._constant(name, self.weights[name])

    def _constant(self, name: str, values: npt.NDArray[Any]) -> str:
        import numpy as np
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name


def _node(kind: str, inputs: list[str], *outputs: str, **attributes: Any) -> NodeProto:
    from onnx import helper

    microsoft = {"EmbedLayerNormalization", "Attention", "SkipLayerNormalization", "BiasGelu"}
    domain = "com.microsoft" if kind in microsoft else ""
    return helper.make_node(kind, inputs, list(outputs), domain=domain, **attributes)
