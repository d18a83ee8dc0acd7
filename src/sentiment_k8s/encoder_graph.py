"""Finds an encoder of the BERT family with its head in an ONNX graph, as our own export writes it.

The graph is followed from the embeddings to the logits. Every node must be one that was expected,
and each of its inputs what was expected there, so that nothing that a graph computes is missed.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .onnx_file import Node, OnnxFile, Tensor

Floats = npt.NDArray[np.float32]

DOMAINS = ("", "ai.onnx", "com.microsoft")
FLOAT, INT32, INT64 = 1, 6, 7  # onnx.TensorProto.DataType


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
        if any(node.domain not in DOMAINS for node in self._left):
            raise NotAnEncoder("it has operations of others")

    def whole(self) -> Encoder:
        embeddings, state, mask = self._embeddings()
        layers: list[Layer] = []
        first_alone = False
        while not self._readers(state, "Gather"):
            if first_alone:
                raise NotAnEncoder("a layer before the last goes on with the first token alone")
            layer, state, first_alone = self._layer(state, mask)
            layers.append(layer)
        first = self._take(state, "Gather")
        index = self._constant(_at(first.inputs, 1))
        if _whole(first, "axis", 0) != 1 or index.ndim or index != 0:
            raise NotAnEncoder("the head does not read the first token")
        pooler, pooled = self._linear(_at(first.outputs, 0))
        active = self._take(pooled, "Tanh", "Relu")
        classifier, logits = self._linear(_at(active.outputs, 0))
        if logits != "logits" or self._left or not layers:
            raise NotAnEncoder(f"{len(self._left)} more nodes than expected")
        return Encoder(embeddings, layers, pooler, active.kind, classifier)

    def _embeddings(self) -> tuple[Embeddings, str, str]:
        """The embeddings, what they give, and the mask."""
        inputs = {name: name for name in ("input_ids", "attention_mask", "token_type_ids")}
        for cast in [node for node in self._left if node.kind == "Cast" and node.inputs]:
            if cast.inputs[0] in inputs and _whole(cast, "to", 0) in (INT32, INT64):
                inputs[_at(cast.outputs, 0)] = cast.inputs[0]
                self._left.remove(cast)
        kinds = ("EmbedLayerNormalization", "QEmbedLayerNormalization")
        nodes = [node for node in self._left if node.kind in kinds]
        if len(nodes) != 1:
            raise NotAnEncoder("its embeddings are not fused")
        [node] = nodes
        self._left.remove(node)
        has_types = bool(_at(node.inputs, 4))
        expected = ["input_ids", "token_type_ids" if has_types else "", "attention_mask"]
        if [inputs.get(_at(node.inputs, at), "") for at in (0, 1, 7)] != expected:
            raise NotAnEncoder("its embeddings are not of the model's inputs")
        if set(node.attributes) - {"epsilon", "mask_index_type"}:
            raise NotAnEncoder("its embeddings are of another kind")
        if node.kind == "QEmbedLayerNormalization":
            number, offset = (self._number(_at(node.inputs, at)) for at in (8, 13))
            read = self._dequantised
        else:
            if any(node.inputs[8:]):
                raise NotAnEncoder("its positions are given")
            number, offset = 0.0, 0.0
            read = self._floats_of
        positions, scales, shifts = (read(node, at) for at in (3, 5, 6))
        no_types = np.zeros((1, positions.shape[-1]), np.float32)
        types = read(node, 4) if has_types else no_types
        words = self._constant(_at(node.inputs, 2))
        if words.dtype != (np.uint8 if number else np.float32):
            raise NotAnEncoder(f"its words are {words.dtype}")
        norm = Norm(scales, shifts, _float(node, "epsilon", 1e-12))
        found = Embeddings(words, number, offset, positions, types, norm)
        return found, _at(node.outputs, 0), _at(node.outputs, 1)

    def _dequantised(self, node: Node, at: int) -> Floats:
        values = self._constant(_at(node.inputs, at))
        scale, zero = (self._number(_at(node.inputs, at + more)) for more in (6, 11))
        return np.asarray((values.astype(np.float32) - zero) * scale, np.float32)

    def _floats_of(self, node: Node, at: int) -> Floats:
        return self._floats(_at(node.inputs, at))

    def _layer(self, state: str, mask: str) -> tuple[Layer, str, bool]:
        """A layer, what it gives, and whether that is of first tokens alone."""
        inward, heads, context = self._attention(state, mask)
        sliced = [bool(self._readers(value, "Slice")) for value in (context, state)]
        if any(sliced):
            if not all(sliced):
                raise NotAnEncoder("it adds first tokens to all tokens")
            context, state = self._first_tokens(context), self._first_tokens(state)
        outward, projected = self._linear(context)
        attended, middle = self._norm(projected, state)
        widening, wide = self._linear(middle, "BiasGelu")
        narrowing, narrow = self._linear(wide)
        done, end = self._norm(narrow, middle)
        layer = Layer(heads, inward, outward, attended, widening, narrowing, done)
        return layer, end, any(sliced)

    def _attention(self, state: str, mask: str) -> tuple[Linear, int, str]:
        if self._readers(state, "Attention"):
            node = self._take(state, "Attention")
            scales, read, rest = None, _at(node.inputs, 3), node.inputs[4:]
        else:
            quantised = self._take(state, "DynamicQuantizeLinear")
            node = self._take(_at(quantised.outputs, 0), "QAttention")
            given = [_at(node.inputs, at) for at in (3, 6)]
            if given != [_at(quantised.outputs, at) for at in (1, 2)]:
                raise NotAnEncoder("its attention is scaled by something else")
            self._expect_no_zero_point(node, 7)
            scales = self._floats(_at(node.inputs, 4)).reshape(-1)
            read, rest = _at(node.inputs, 5), node.inputs[8:]
        if read != mask or any(rest):
            raise NotAnEncoder("its attention reads something else than the mask")
        known = {"num_heads", "mask_filter_value", "unidirectional"}
        if set(node.attributes) - known or _whole(node, "unidirectional", 0):
            raise NotAnEncoder("its attention is of another kind")
        weights, biases = self._constant(_at(node.inputs, 1)), self._floats(_at(node.inputs, 2))
        return Linear(weights, biases, scales), _whole(node, "num_heads", 0), _at(node.outputs, 0)

    def _first_tokens(self, value: str) -> str:
        """What the last layer goes on with: see `keep_first_token` in graph.py."""
        node = self._take(value, "Slice")
        if [self._number(name) for name in node.inputs[1:]] not in ([0, 1, 1], [0, 1, 1, 1]):
            raise NotAnEncoder("it slices something else than the first token")
        return _at(node.outputs, 0)

    def _linear(self, value: str, end: str = "Add") -> tuple[Linear, str]:
        """A matrix product with its bias, which a node of kind `end` adds."""
        if self._readers(value, "Gemm"):
            return self._gemm(value)
        factors = None
        if self._readers(value, "Mul", at=None):
            node = self._take(value, "Mul", at=None)
            factors, value = self._floats(_other(node, value)), _at(node.outputs, 0)
        if self._readers(value, "MatMul"):
            node = self._take(value, "MatMul")
            weights, scales = self._constant(_at(node.inputs, 1)), None
            product = _at(node.outputs, 0)
        else:
            weights, scales, product = self._int8_product(value)
        node = self._take(product, end, at=None)
        biases = self._floats(_other(node, product))
        return Linear(weights, biases, scales, factors), _at(node.outputs, 0)

    def _int8_product(self, value: str) -> tuple[Tensor, Floats, str]:
        quantised = self._take(value, "DynamicQuantizeLinear")
        whole, scale, zero = (_at(quantised.outputs, at) for at in range(3))
        node = self._take(whole, "MatMulInteger")
        if _at(node.inputs, 2) != zero:
            raise NotAnEncoder("it has another zero point than it was quantised with")
        self._expect_no_zero_point(node, 3)
        scaling = self._take(scale, "Mul", at=None)
        scales = self._floats(_other(scaling, scale)).reshape(-1)
        cast = self._take(_at(node.outputs, 0), "Cast")
        product = self._take(_at(cast.outputs, 0), "Mul", at=None)
        if _whole(cast, "to", 0) != FLOAT or _other(product, cast.outputs[0]) != _at(
            scaling.outputs, 0
        ):
            raise NotAnEncoder("a product has another scale than its factors")
        return self._constant(_at(node.inputs, 1)), scales, _at(product.outputs, 0)

    def _gemm(self, value: str) -> tuple[Linear, str]:
        node = self._take(value, "Gemm")
        factors = _float(node, "alpha", 1), _float(node, "beta", 1)
        if factors != (1, 1) or _whole(node, "transA", 0):
            raise NotAnEncoder("its head's Gemm is of another kind")
        weights = self._constant(_at(node.inputs, 1))
        turned = weights.T if _whole(node, "transB", 0) else weights
        biases = self._floats(_at(node.inputs, 2))
        return Linear(turned, biases), _at(node.outputs, 0)

    def _norm(self, value: str, residual: str) -> tuple[Norm, str]:
        """The normalisation of `value` added to `residual`."""
        added = self._take(value, "Add", at=None)
        if _other(added, value) != residual:
            raise NotAnEncoder("it adds something else than what a layer began with")
        node = self._take(_at(added.outputs, 0), "LayerNormalization")
        if _whole(node, "axis", -1) != -1:
            raise NotAnEncoder("it normalises over another axis")
        scales, shifts = (self._floats_of(node, at) for at in (1, 2))
        return Norm(scales, shifts, _float(node, "epsilon", 1e-5)), _at(node.outputs, 0)

    def _readers(self, value: str, *kinds: str, at: int | None = 0) -> list[Node]:
        """The nodes of these kinds that read a value at one place; None is any."""
        return [
            node
            for node in self._left
            if node.kind in kinds and value in (node.inputs if at is None else node.inputs[at:][:1])
        ]

    def _take(self, value: str, *kinds: str, at: int | None = 0) -> Node:
        """The one node of these kinds that reads a value there."""
        readers = self._readers(value, *kinds, at=at)
        if len(readers) != 1:
            raise NotAnEncoder(f"{value} is read by {len(readers)} nodes of kind {kinds}, not one")
        self._left.remove(readers[0])
        return readers[0]

    def _constant(self, name: str) -> Tensor:
        if name not in self._constants:
            raise NotAnEncoder(f"{name!r} is no constant")
        return self._constants[name]

    def _floats(self, name: str) -> Floats:
        values = self._constant(name)
        if values.dtype != np.float32:
            raise NotAnEncoder(f"{name} is {values.dtype}")
        return values

    def _number(self, name: str) -> float:
        values = self._constant(name)
        if values.size != 1:
            raise NotAnEncoder(f"{name} is not one number")
        return float(values.reshape(1)[0])

    def _expect_no_zero_point(self, node: Node, at: int) -> None:
        name = "".join(node.inputs[at : at + 1])
        if name and self._constant(name).any():
            raise NotAnEncoder("its weights have a zero point")


def _at(names: list[str], at: int) -> str:
    """The input or output of that number."""
    if at >= len(names):
        raise NotAnEncoder(f"a node has {len(names)} inputs or outputs, not {at + 1}")
    return names[at]


def _other(node: Node, value: str) -> str:
    """The other one of two inputs."""
    others = [name for name in node.inputs if name != value]
    if len(others) != 1 or len(node.inputs) != 2:
        raise NotAnEncoder(f"a {node.kind} has inputs {node.inputs}")
    return others[0]


def _whole(node: Node, name: str, default: int) -> int:
    """An attribute that is a whole number."""
    value = node.attributes.get(name, default)
    if not isinstance(value, int):
        raise NotAnEncoder(f"{name} of a {node.kind} is no whole number")
    return value


def _float(node: Node, name: str, default: float) -> float:
    """An attribute that is a number."""
    value = node.attributes.get(name, default)
    if not isinstance(value, int | float):
        raise NotAnEncoder(f"{name} of a {node.kind} is no number")
    return float(value)
