"""Finds an encoder of the BERT family with its head in an ONNX graph, as our own export writes it.

The graph is followed from the embeddings to the logits; every node must be one that was expected,
so that nothing which a graph computes besides can be missed.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .onnx_file import Node, OnnxFile, Tensor

Floats = npt.NDArray[np.float32]


class NotAnEncoder(Exception):
    """What the graph has that is not known here."""


@dataclass(frozen=True, slots=True)
class Linear:
    """x W + b: `weights` (inputs, outputs) are floats, or int8 with `scales` (outputs); x is first
    multiplied by `factors` (inputs), if any."""

    weights: Tensor
    biases: Floats
    scales: Floats | None = None
    factors: Floats | None = None


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer normalisation: `scales` and `shifts` (hidden)."""

    scales: Floats
    shifts: Floats
    epsilon: float


@dataclass(frozen=True, slots=True)
class Layer:
    """`inward` gives the queries, keys and values of all heads, one beside the other."""

    heads: int
    inward: Linear
    outward: Linear
    attended: Norm
    widening: Linear
    narrowing: Linear
    done: Norm


@dataclass(frozen=True, slots=True)
class Embeddings:
    """`words` (vocabulary, hidden) are floats, or bytes b that mean (b - `zero`) * `scale`."""

    words: Tensor
    scale: float
    zero: float
    positions: Floats
    types: Floats
    norm: Norm


@dataclass(frozen=True, slots=True)
class Encoder:
    """`activation`, Tanh or Relu, is the pooler's."""

    embeddings: Embeddings
    layers: list[Layer]
    pooler: Linear
    activation: str
    classifier: Linear


def find_encoder(file: OnnxFile) -> Encoder:
    """The encoder that this graph is.

    Raises:
        NotAnEncoder: it is something else, or written otherwise.
    """
    return _Walk(file).whole()


class _Walk:
    """Goes through the graph, from each value to the node that reads it."""

    def __init__(self, file: OnnxFile) -> None:
        self._constants = file.constants
        self._left = list(file.nodes)

    def whole(self) -> Encoder:
        embeddings, state = self._embeddings()
        layers = []
        while self._readers(state, "Gather") == []:
            layer, state = self._layer(state)
            layers.append(layer)
        first = self._take(state, "Gather")
        if first.attributes.get("axis", 0) != 1 or self._constant(first.inputs[1]).any():
            raise NotAnEncoder("the head does not read the first token")
        pooler, pooled = self._linear(first.outputs[0])
        active = self._take(pooled, "Tanh", "Relu")
        classifier, logits = self._linear(active.outputs[0])
        if logits != "logits" or self._left or not layers:
            raise NotAnEncoder(f"{len(self._left)} more nodes than expected")
        return Encoder(embeddings, layers, pooler, active.kind, classifier)

    def _embeddings(self) -> tuple[Embeddings, str]:
        for name in ("input_ids", "attention_mask", "token_type_ids"):
            for cast in self._readers(name, "Cast"):
                self._left.remove(cast)
        kinds = ("EmbedLayerNormalization", "QEmbedLayerNormalization")
        nodes = [node for node in self._left if node.kind in kinds]
        if len(nodes) != 1:
            raise NotAnEncoder("its embeddings are not fused")
        [node] = nodes
        self._left.remove(node)
        if node.kind == "QEmbedLayerNormalization":
            words, number, offset = node.inputs[2], *map(self._number, node.inputs[8:14:5])
            tables = [self._dequantised(node, at) for at in (3, 4, 5, 6) if node.inputs[at]]
        elif any(node.inputs[8:]):
            raise NotAnEncoder("its positions are given")
        else:
            words, number, offset = node.inputs[2], 0.0, 0.0
            tables = [self._floats(name) for name in node.inputs[3:7] if name]
        if not node.inputs[4]:  # a model without kinds of tokens
            tables.insert(1, np.zeros((1, tables[0].shape[-1]), np.float32))
        positions, types, scales, shifts = tables
        found = self._constant(words)
        if found.dtype != (np.uint8 if number else np.float32):
            raise NotAnEncoder(f"its words are {found.dtype}")
        norm = Norm(scales, shifts, self._epsilon(node))
        return Embeddings(found, number, offset, positions, types, norm), node.outputs[0]

    def _dequantised(self, node: Node, at: int) -> Floats:
        values, scale, zero = (self._constant(node.inputs[i]) for i in (at, at + 6, at + 11))
        return (values.astype(np.float32) - zero.astype(np.float32)) * scale

    def _layer(self, state: str) -> tuple[Layer, str]:
        """A layer, and what it gives."""
        inward, heads, context = self._attention(state)
        context, residual = self._first_tokens(context), self._first_tokens(state)
        outward, projected = self._linear(context)
        attended, middle = self._norm(projected, residual)
        widening, wide = self._linear(middle, "BiasGelu")
        narrowing, narrow = self._linear(wide)
        done, end = self._norm(narrow, middle)
        return Layer(heads, inward, outward, attended, widening, narrowing, done), end

    def _attention(self, state: str) -> tuple[Linear, int, str]:
        if self._readers(state, "Attention"):
            node = self._take(state, "Attention")
            scales, rest = None, node.inputs[4:]
        else:
            quantised = self._take(state, "DynamicQuantizeLinear")
            node = self._take(quantised.outputs[0], "QAttention")
            scales, rest = self._floats(node.inputs[4]), node.inputs[8:]
            self._expect_no_zero_point(node.inputs[7])
        heads = node.attributes.get("num_heads", 0)
        known = {"num_heads", "mask_filter_value", "unidirectional"}
        if any(rest) or set(node.attributes) - known or node.attributes.get("unidirectional", 0):
            raise NotAnEncoder("its attention is of another kind")
        weights, biases = self._constant(node.inputs[1]), self._floats(node.inputs[2])
        return Linear(weights, biases, scales), int(np.asarray(heads)), node.outputs[0]

    def _first_tokens(self, value: str) -> str:
        """What the last layer goes on with: see `keep_first_token` in graph.py."""
        if not self._readers(value, "Slice"):
            return value
        node = self._take(value, "Slice")
        if [self._number(name) for name in node.inputs[1:]] != [0, 1, 1]:
            raise NotAnEncoder("it slices something else than the first token")
        return node.outputs[0]

    def _linear(self, value: str, end: str = "Add") -> tuple[Linear, str]:
        """A matrix product with its bias, which a node of kind `end` adds."""
        if self._readers(value, "Gemm"):
            return self._gemm(value)
        factors = None
        if self._readers(value, "Mul"):
            node = self._take(value, "Mul")
            factors, value = self._floats(_other(node, value)), node.outputs[0]
        if self._readers(value, "MatMul"):
            node = self._take(value, "MatMul")
            weights, scales, product = self._constant(node.inputs[1]), None, node.outputs[0]
        else:
            weights, scales, product = self._int8_product(value)
        node = self._take(product, end)
        biases = self._floats(_other(node, product))
        return Linear(weights, biases, scales, factors), node.outputs[0]

    def _int8_product(self, value: str) -> tuple[Tensor, Floats, str]:
        quantised = self._take(value, "DynamicQuantizeLinear")
        node = self._take(quantised.outputs[0], "MatMulInteger")
        self._expect_no_zero_point(node.inputs[3])
        scaling = self._take(quantised.outputs[1], "Mul")
        scales = self._floats(_other(scaling, quantised.outputs[1]))
        product = self._take(self._take(node.outputs[0], "Cast").outputs[0], "Mul")
        return self._constant(node.inputs[1]), scales, product.outputs[0]

    def _gemm(self, value: str) -> tuple[Linear, str]:
        node = self._take(value, "Gemm")
        given = node.attributes
        if given.get("alpha", 1) != 1 or given.get("beta", 1) != 1 or given.get("transA", 0):
            raise NotAnEncoder("its head's Gemm is of another kind")
        weights = self._constant(node.inputs[1])
        turned = weights.T if given.get("transB", 0) else weights
        return Linear(turned, self._floats(node.inputs[2])), node.outputs[0]

    def _norm(self, value: str, residual: str) -> tuple[Norm, str]:
        """The normalisation of `value` added to `residual`."""
        added = self._take(value, "Add")
        if _other(added, value) != residual:
            raise NotAnEncoder("it adds something else than what a layer began with")
        node = self._take(added.outputs[0], "LayerNormalization")
        if node.attributes.get("axis", -1) != -1:
            raise NotAnEncoder("it normalises over another axis")
        scales, shifts = (self._floats(name) for name in node.inputs[1:3])
        return Norm(scales, shifts, self._epsilon(node)), node.outputs[0]

    def _readers(self, value: str, *kinds: str) -> list[Node]:
        return [node for node in self._left if node.kind in kinds and value in node.inputs]

    def _take(self, value: str, *kinds: str) -> Node:
        """The one node of these kinds that reads a value."""
        readers = self._readers(value, *kinds)
        if len(readers) != 1:
            raise NotAnEncoder(f"{value} is read by {len(readers)} nodes of kind {kinds}, not one")
        self._left.remove(readers[0])
        return readers[0]

    def _constant(self, name: str) -> Tensor:
        if name not in self._constants:
            raise NotAnEncoder(f"{name} is no constant")
        return self._constants[name]

    def _floats(self, name: str) -> Floats:
        return np.ascontiguousarray(self._constant(name), np.float32)

    def _number(self, name: str) -> float:
        values = self._constant(name)
        if values.size != 1:
            raise NotAnEncoder(f"{name} is more than one number")
        return float(values.reshape(1)[0])

    def _epsilon(self, node: Node) -> float:
        return float(np.asarray(node.attributes.get("epsilon", 1e-5)))

    def _expect_no_zero_point(self, name: str) -> None:
        if self._constant(name).any():
            raise NotAnEncoder("its weights have a zero point")


def _other(node: Node, value: str) -> str:
    """The other one of two inputs."""
    others = [name for name in node.inputs if name != value]
    if len(others) != 1 or len(node.inputs) != 2:
        raise NotAnEncoder(f"a {node.kind} has inputs {node.inputs}")
    return others[0]
