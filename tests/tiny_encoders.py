"""Encoders of the BERT family with random weights, as our export writes them, without torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

HIDDEN, HEADS, WIDE, LAYERS, VOCABULARY, LONGEST, LABELS = 64, 2, 128, 2, 50, 40, 3


class TinyEncoder:
    """Builds one graph.

    Args:
        activation: of the pooler.
        first_token: let the last layer go on with the first token alone.
        factors: multiply the feed-forward network's input by something before its matrix.
        types: kinds of tokens; 0 for a model without.
        epsilon: of all norms; None leaves each its default.
        seed: of the weights.
    """

    def __init__(
        self,
        *,
        activation: str = "Tanh",
        first_token: bool = True,
        factors: bool = False,
        types: int = 2,
        epsilon: float | None = 1e-2,
        seed: int = 1,
    ) -> None:
        self._seed = seed
        self._activation = activation
        self._first_token = first_token
        self._factors = factors
        self._types = types
        self._epsilon = {} if epsilon is None else {"epsilon": epsilon}

    def model(self) -> ModelProto:
        """In fp32, with the inputs and the output of a sequence classifier."""
        self._random = np.random.default_rng(self._seed)
        self._constants: list[TensorProto] = []
        nodes = list(self._nodes())
        for node in nodes:
            node.name = node.output[0]  # the quantiser tells them apart by it
        whole = ["n", "length"]
        names = ["input_ids", "attention_mask", *["token_type_ids"] * bool(self._types)]
        graph = helper.make_graph(
            nodes,
            "encoder",
            [helper.make_tensor_value_info(name, TensorProto.INT64, whole) for name in names],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", LABELS])],
            self._constants,
        )
        domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=domains, ir_version=8)
        onnx.helper.set_model_props(model, {"precision": "fp32"})
        return model

    def write(self, folder: Path, precision: str = "fp32") -> Path:
        """The ONNX file of that precision, made in a folder."""
        fp32, int8 = folder / "fp32.onnx", folder / "int8.onnx"
        onnx.save(self.model(), fp32)
        if precision == "fp32":
            return fp32
        quantize_dynamic(
            fp32,
            int8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            extra_options={"DefaultTensorType": 1},
        )
        return int8

    def _nodes(self) -> Iterator[NodeProto]:
        for name in ("input_ids", "attention_mask", *["token_type_ids"] * bool(self._types)):
            yield helper.make_node("Cast", [name], [f"{name}_int32"], to=TensorProto.INT32)
        yield self._microsoft(
            "EmbedLayerNormalization",
            [
                "input_ids_int32",
                "token_type_ids_int32" if self._types else "",
                self._random_constant("words", VOCABULARY, HIDDEN),
                self._random_constant("positions", LONGEST, HIDDEN),
                self._random_constant("types", self._types, HIDDEN) if self._types else "",
                self._random_constant("embedded_scale", HIDDEN, mean=1),
                self._random_constant("embedded_shift", HIDDEN),
                "attention_mask_int32",
            ],
            ["state_0", "mask"],
            **self._epsilon,
        )
        for layer in range(LAYERS):
            yield from self._layer(layer)
        first = self._constant("first", np.array(0, np.int64))
        yield helper.make_node("Gather", [f"state_{LAYERS}", first], ["read"], axis=1)
        for name, value, output, width in (
            ("pooler", "read", "pooled", HIDDEN),
            ("classifier", "active", "logits", LABELS),
        ):
            weights = self._random_constant(f"{name}_weights", width, HIDDEN)
            biases = self._random_constant(f"{name}_biases", width)
            yield helper.make_node("Gemm", [value, weights, biases], [output], transB=1)
            if name == "pooler":
                yield helper.make_node(self._activation, ["pooled"], ["active"])

    def _layer(self, layer: int) -> Iterator[NodeProto]:
        state, at = f"state_{layer}", f"layer_{layer}"
        weights = self._random_constant(f"{at}_inward", HIDDEN, 3 * HIDDEN)
        biases = self._random_constant(f"{at}_inward_biases", 3 * HIDDEN)
        yield self._microsoft(
            "Attention", [state, weights, biases, "mask"], [f"{at}_context"], num_heads=HEADS
        )
        context = f"{at}_context"
        if self._first_token and layer == LAYERS - 1:
            bounds = [self._constant(f"b{v}{i}", np.array([v])) for i, v in enumerate((0, 1, 1))]
            for value in (context, state):
                yield helper.make_node("Slice", [value, *bounds], [f"{value}_first"])
            context, state = f"{context}_first", f"{state}_first"
        yield from self._linear(context, f"{at}_projected", HIDDEN, HIDDEN)
        yield from self._norm(f"{at}_projected", state, f"{at}_middle")
        read = f"{at}_middle"
        if self._factors:
            factors = self._random_constant(f"{at}_factors", HIDDEN, mean=1)
            yield helper.make_node("Mul", [read, factors], [f"{at}_multiplied"])
            read = f"{at}_multiplied"
        yield from self._linear(read, f"{at}_wide", HIDDEN, WIDE, end="BiasGelu")
        yield from self._linear(f"{at}_wide", f"{at}_narrow", WIDE, HIDDEN)
        yield from self._norm(f"{at}_narrow", f"{at}_middle", f"state_{layer + 1}")

    def _linear(
        self, value: str, output: str, inputs: int, outputs: int, end: str = "Add"
    ) -> Iterator[NodeProto]:
        weights = self._random_constant(f"{output}_weights", inputs, outputs)
        biases = self._random_constant(f"{output}_biases", outputs)
        yield helper.make_node("MatMul", [value, weights], [f"{output}_product"])
        added = [f"{output}_product", biases]
        if end == "Add":
            yield helper.make_node("Add", added, [output])
        else:
            yield self._microsoft(end, added, [output])

    def _norm(self, value: str, residual: str, output: str) -> Iterator[NodeProto]:
        scale = self._random_constant(f"{output}_gamma", HIDDEN, mean=1)
        shift = self._random_constant(f"{output}_beta", HIDDEN)
        yield helper.make_node("Add", [value, residual], [f"{output}_sum"])
        yield helper.make_node(
            "LayerNormalization",
            [f"{output}_sum", scale, shift],
            [output],
            axis=-1,
            **self._epsilon,
        )

    def _random_constant(self, name: str, *shape: int, mean: float = 0) -> str:
        spread = 1 / np.sqrt(shape[0]) if len(shape) > 1 else 0.1
        if name in ("words", "positions", "types"):
            spread = 0.01  # so small that the norm's epsilon counts
        return self._constant(name, self._random.normal(mean, spread, shape).astype(np.float32))

    def _constant(self, name: str, values: npt.NDArray[Any]) -> str:
        self._constants.append(numpy_helper.from_array(values, name))
        return name

    def _microsoft(self, kind: str, *arguments: Any, **attributes: Any) -> NodeProto:
        return helper.make_node(kind, *arguments, domain="com.microsoft", **attributes)
