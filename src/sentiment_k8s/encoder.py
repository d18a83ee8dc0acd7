"""The engine for encoders of the BERT family: native/encoder.c, given packed weights and tokens.

It computes no padding, and each text by itself to the last bit: the same text has the same logits
in whatever company. Where the CPU, the compiler or the model is of another kind, ONNX Runtime
computes (onnx_engine.py).
"""

import ctypes
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import native, onnx_file
from .encoder_graph import Encoder, Floats, Layer, Linear, Norm, NotAnEncoder, find_encoder
from .tokenizer import Tokens

logger = logging.getLogger(__name__)

Array = npt.NDArray[Any]

CACHE_LINE = 64  # bytes
# Without VNNI two products are added in 16 bits: 2 x 255 x 64 fits, and 2 x 255 x 128 does not.
MOST_WITHOUT_VNNI = 64


class CLinear(ctypes.Structure):
    """`struct linear` of encoder.c; and so on below."""

    _fields_ = [
        ("inputs", ctypes.c_int32),
        ("outputs", ctypes.c_int32),
        ("weights", ctypes.c_void_p),
        ("biases", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("sums", ctypes.c_void_p),
        ("factors", ctypes.c_void_p),
    ]


class CNorm(ctypes.Structure):
    _fields_ = [
        ("scales", ctypes.c_void_p),
        ("shifts", ctypes.c_void_p),
        ("epsilon", ctypes.c_float),
    ]


class CLayer(ctypes.Structure):
    _fields_ = [
        ("inward", CLinear),
        ("outward", CLinear),
        ("attended", CNorm),
        ("widening", CLinear),
        ("narrowing", CLinear),
        ("done", CNorm),
    ]


class CEncoder(ctypes.Structure):
    _fields_ = [
        ("hidden", ctypes.c_int32),
        ("heads", ctypes.c_int32),
        ("layers", ctypes.c_int32),
        ("words", ctypes.c_void_p),
        ("words_scale", ctypes.c_float),
        ("words_zero", ctypes.c_float),
        ("positions", ctypes.c_void_p),
        ("types", ctypes.c_void_p),
        ("embedded", CNorm),
        ("each", ctypes.POINTER(CLayer)),
        ("pooler", CLinear),
        ("pooler_is_relu", ctypes.c_int32),
        ("classifier", CLinear),
    ]


class EncoderEngine:
    """Runs one encoder, each call on the core that makes it.

    Args:
        library: native/encoder.c, compiled.
        name: of that library.
        encoder: what to run.
        metadata: what the model's file says of itself.
    """

    pads = False

    def __init__(
        self, library: ctypes.CDLL, name: str, encoder: Encoder, metadata: dict[str, str]
    ) -> None:
        self.name = f"encoder-{name}"
        self.metadata = metadata
        self._library = library
        self._library.working_memory.restype = ctypes.c_int64
        self._kept: list[Array] = []  # what the C structures point to
        self._panel = library.panel()
        self._vocabulary, hidden = encoder.embeddings.words.shape
        self._longest = len(encoder.embeddings.positions)
        self._types = len(encoder.embeddings.types)
        self._labels = encoder.classifier.weights.shape[1]
        layers = [self._layer(layer, hidden) for layer in encoder.layers]
        self._layers = (CLayer * len(layers))(*layers)
        embeddings = encoder.embeddings
        self._encoder = CEncoder(
            hidden,
            encoder.layers[0].heads,
            len(layers),
            self._keep(embeddings.words),
            embeddings.scale,
            embeddings.zero,
            self._keep(embeddings.positions),
            self._keep(embeddings.types),
            self._norm(embeddings.norm),
            self._layers,
            self._linear(encoder.pooler),
            encoder.activation == "Relu",
            self._linear(encoder.classifier),
        )
        self._memory = threading.local()

    def run(self, batch: Sequence[Tokens]) -> Floats:
        """The logits of texts.

        Args:
            batch: n tokenised texts.

        Returns:
            float32 of shape (n, labels).

        Raises:
            ValueError: a token is none of the model's, or a text is longer than it takes.
        """
        ids = np.array([one for tokens in batch for one in tokens.ids], np.int32)
        types = np.zeros_like(ids)
        if self._types > 1:  # else the tokenizer's are for nobody
            types[:] = [one for tokens in batch for one in tokens.type_ids]
        lengths = [len(tokens) for tokens in batch]
        longest = max(lengths)
        ends = np.cumsum(lengths, dtype=np.int32)
        if min(ids.min(), types.min()) < 0 or ids.max() >= self._vocabulary:
            raise ValueError(f"a token is not within the vocabulary of {self._vocabulary}")
        if types.max() >= self._types or not 0 < min(lengths) <= longest <= self._longest:
            raise ValueError(
                f"a text has no tokens or more than {self._longest}, or types of tokens beyond the "
                f"model's {self._types}"
            )
        logits = np.empty((len(batch), self._encoder.classifier.outputs), np.float32)
        self._library.encode(
            ctypes.byref(self._encoder),
            _address(ids),
            _address(types),
            _address(ends),
            len(batch),
            longest,
            _address(self._working_memory(len(ids), len(batch), longest)),
            _address(logits),
        )
        return logits[:, : self._labels]

    def _working_memory(self, tokens: int, texts: int, longest: int) -> Array:
        """This thread's, made anew when it must be larger."""
        size = self._library.working_memory(ctypes.byref(self._encoder), tokens, texts, longest)
        memory: Array | None = getattr(self._memory, "kept", None)
        if memory is None or len(memory) < size:
            memory = self._memory.kept = _aligned(size)
        return memory

    def _layer(self, layer: Layer, hidden: int) -> CLayer:
        """With the attention's 1 / sqrt(width of a head) in the weights of the queries."""
        queries = np.ones(3 * hidden, np.float32)
        queries[:hidden] = 1 / np.sqrt(hidden / layer.heads)
        return CLayer(
            self._linear(layer.inward, queries),
            self._linear(layer.outward),
            self._norm(layer.attended),
            self._linear(layer.widening),
            self._linear(layer.narrowing),
            self._norm(layer.done),
        )

    def _linear(self, linear: Linear, times: Array | None = None) -> CLinear:
        """Its weights in panels (encoder.c says how), its last columns zeros; x W + b by `times`
        (outputs)."""
        inputs, outputs = linear.weights.shape
        rest = -outputs % self._panel
        factor = np.ones(outputs, np.float32) if times is None else times
        whole = np.pad(linear.weights, ((0, 0), (0, rest)))
        found = CLinear(inputs, outputs + rest)
        found.biases = self._keep(np.pad(linear.biases * factor, (0, rest)))
        if linear.scales is None:
            whole = whole * np.pad(factor, (0, rest))
            if linear.factors is not None:
                whole *= linear.factors[:, None]
            found.weights = self._keep(whole.reshape(inputs, -1, self._panel).swapaxes(0, 1))
            return found
        scales = np.broadcast_to(linear.scales, outputs) * factor
        found.scales = self._keep(np.pad(scales, (0, rest)))
        found.sums = self._keep(whole.sum(0, dtype=np.int32))
        fours = whole.reshape(inputs // 4, 4, -1, self._panel)
        found.weights = self._keep(fours.transpose(2, 0, 3, 1))
        if linear.factors is not None:
            found.factors = self._keep(linear.factors)
        return found

    def _norm(self, norm: Norm) -> CNorm:
        return CNorm(self._keep(norm.scales), self._keep(norm.shifts), norm.epsilon)

    def _keep(self, values: Array) -> int:
        """The address of a copy, at the beginning of a cache line."""
        copy = _aligned(values.nbytes).view(values.dtype).reshape(values.shape)
        copy[...] = values
        self._kept.append(copy)
        return _address(copy).value or 0


def load_encoder(path: Path) -> EncoderEngine | None:
    """An engine for this ONNX file, None where the CPU, the build or the model has no such thing.

    A file that cannot be read is left to ONNX Runtime, which says why.
    """
    runnable = native.runnable(native.cpu_flags())
    name, library = next(
        ((name, library) for name in runnable if (library := native.library(name))), (None, None)
    )
    if name is None or library is None:
        if runnable:
            logger.info(
                "ONNX Runtime computes: the encoder in C was not compiled here, or from other "
                "sources (install this package again where gcc is)."
            )
        return None
    try:
        file = onnx_file.read(path)
        encoder = find_encoder(file)
        check(encoder, vnni=name != "avx2")
        return EncoderEngine(library, name, encoder, file.metadata)
    except NotAnEncoder as error:
        logger.info("ONNX Runtime computes: %s is no encoder that we know, %s.", path.name, error)
    except Exception as error:  # a file of any kind must not keep ONNX Runtime from serving it
        logger.warning("ONNX Runtime computes: %s is not readable, %r.", path.name, error)
    return None


def check(encoder: Encoder, *, vnni: bool) -> None:
    """That all sizes are those of one encoder, and such as encoder.c takes.

    Raises:
        NotAnEncoder: they are not.
    """
    tables = (encoder.embeddings.words, encoder.embeddings.positions, encoder.embeddings.types)
    matrices = (encoder.layers[0].widening.weights, encoder.classifier.weights)
    if any(values.ndim != 2 or not values.size for values in (*tables, *matrices)):
        raise NotAnEncoder("its tables or matrices have other than two dimensions, or nothing")
    hidden = encoder.embeddings.words.shape[1]
    wide = encoder.layers[0].widening.weights.shape[1]
    heads = encoder.layers[0].heads
    expected: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        (encoder.embeddings.positions.shape[1:], (hidden,)),
        (encoder.embeddings.types.shape[1:], (hidden,)),
    ]
    norms = [encoder.embeddings.norm]
    shaped = [
        (encoder.pooler, hidden, hidden),
        (encoder.classifier, hidden, encoder.classifier.weights.shape[1]),
    ]
    for layer in encoder.layers:
        norms += [layer.attended, layer.done]
        shaped += [
            (layer.inward, hidden, 3 * hidden),
            (layer.outward, hidden, hidden),
            (layer.widening, hidden, wide),
            (layer.narrowing, wide, hidden),
        ]
        expected.append(((layer.heads,), (heads,)))
    expected += [
        (values.shape, (hidden,)) for norm in norms for values in (norm.scales, norm.shifts)
    ]
    for linear, inputs, outputs in shaped:
        expected.append((linear.weights.shape, (inputs, outputs)))
        expected.append((linear.biases.shape, (outputs,)))
        if linear.factors is not None:
            expected.append((linear.factors.shape, (inputs,)))
        if linear.weights.dtype != (np.float32 if linear.scales is None else np.int8):
            raise NotAnEncoder(f"it has weights of {linear.weights.dtype}")
        if linear.scales is None:
            continue
        if linear.scales.size not in (1, outputs):
            raise NotAnEncoder("its weights' scales are neither one nor one a column")
        if not vnni and np.abs(linear.weights.astype(np.int16)).max() > MOST_WITHOUT_VNNI:
            raise NotAnEncoder("its weights have eight bits, and this CPU wants seven")
    if any(found != wanted for found, wanted in expected):
        raise NotAnEncoder("its parts are not of one size")
    if heads < 1 or hidden % (32 * heads) or hidden % 64 or wide % 64:
        raise NotAnEncoder(f"its sizes {hidden}, {wide} and {heads} heads are not round enough")


def _aligned(size: int) -> Array:
    """So many bytes, at the beginning of a cache line."""
    memory = np.empty(size + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start : start + size]


def _address(values: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(values.ctypes.data)
