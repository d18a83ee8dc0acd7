"""Reads an ONNX file: its nodes, its constants, what it says of itself. No code of ONNX is needed.

An ONNX file is one protocol buffer (https://protobuf.dev/programming-guides/encoding/); the numbers
of its fields are in https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. Only what our own
exports contain is read: constants that are somewhere else, or of rarer types, are left out.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Tensor = npt.NDArray[Any]
Attribute = int | float | Tensor | None
Value = int | memoryview  # of a field: a number, or bytes

# A longer packed list would take seconds; such constants are written as plain bytes.
MOST_PACKED_BYTES = 1 << 16

# onnx.TensorProto.DataType
TYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8"}


@dataclass(frozen=True, slots=True)
class Node:
    """One operation; `attributes` are its whole numbers, floats and tensors, None for others."""

    kind: str
    domain: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Attribute]


@dataclass(slots=True)
class OnnxFile:
    """`constants` has the initializers and what nodes of kind Constant give."""

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Tensor] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)


def read(path: Path) -> OnnxFile:
    """The whole file; constants are views of it, as long as somebody has them.

    Raises:
        ValueError: it is none.
        OSError: it cannot be read.
    """
    found = OnnxFile()
    with path.open("rb") as opened:
        content = memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
    for number, value in _fields(content):
        if number == 7:
            _graph(_message(value), found)
        elif number == 14:
            entry = dict(_fields(_message(value)))
            found.metadata[_text(entry.get(1, b""))] = _text(entry.get(2, b""))
    return found


def _graph(message: memoryview, found: OnnxFile) -> None:
    for number, value in _fields(message):
        if number == 1:
            node = _node(_message(value))
            constant = node.attributes.get("value")
            if node.kind == "Constant" and isinstance(constant, np.ndarray):
                found.constants.update(dict.fromkeys(node.outputs, constant))
            else:
                found.nodes.append(node)
        elif number == 5:
            name, tensor = _tensor(_message(value))
            if tensor is not None:
                found.constants[name] = tensor


def _node(message: memoryview) -> Node:
    kind = domain = ""
    inputs, outputs = [], []
    attributes: dict[str, Attribute] = {}
    for number, value in _fields(message):
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number == 4:
            kind = _text(value)
        elif number == 5:
            name, given = _attribute(_message(value))
            attributes[name] = given
        elif number == 7:
            domain = _text(value)
    return Node(kind, domain, inputs, outputs, attributes)


def _attribute(message: memoryview) -> tuple[str, Attribute]:
    name = ""
    given: Attribute = None
    for number, value in _fields(message):
        if number == 1:
            name = _text(value)
        elif number == 2:
            given = float(np.frombuffer(_message(value), "<f4", 1)[0])
        elif number == 3:
            given = _signed(value)
        elif number == 5:
            _, given = _tensor(_message(value))
    return name, given


def _tensor(message: memoryview) -> tuple[str, Tensor | None]:
    """Its name and values, None where they are not in the file or of another type."""
    name, shape, kind, elsewhere = "", [], 0, False
    values: Tensor | None = None
    for number, value in _fields(message):
        if number == 1:
            shape += _numbers(value)
        elif number == 2:
            kind = _signed(value)
        elif number == 4:
            values = np.frombuffer(_message(value), "<f4")
        elif number in (5, 7):
            values = np.asarray(_numbers(value))
        elif number == 8:
            name = _text(value)
        elif number == 9:
            values = np.frombuffer(_message(value), TYPES.get(kind, "u1"))
        elif number == 14:
            elsewhere = value != 0
    if values is None or elsewhere or kind not in TYPES:
        return name, None
    return name, values.astype(TYPES[kind], copy=False).reshape(shape)


def _fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """The numbers and raw values of a message's fields."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if not tag >> 3:
            raise ValueError("no protocol buffer: a field of number 0")
        match tag & 7:
            case 0:
                value, at = _varint(message, at)
                yield tag >> 3, value
            case 1 | 5 as wire:
                end = at + (8 if wire == 1 else 4)
                yield tag >> 3, _slice(message, at, end)
                at = end
            case 2:
                size, at = _varint(message, at)
                yield tag >> 3, _slice(message, at, at + size)
                at += size
            case wire:
                raise ValueError(f"no protocol buffer: wire type {wire}")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise ValueError("no protocol buffer: a number without end")


def _slice(message: memoryview, at: int, end: int) -> memoryview:
    if end > len(message):
        raise ValueError("no protocol buffer: it ends too early")
    return message[at:end]


def _numbers(value: Value) -> list[int]:
    """Of a repeated number: one, or many packed."""
    if isinstance(value, int):
        return [_signed(value)]
    if len(value) > MOST_PACKED_BYTES:
        raise ValueError("an ONNX file with many numbers that are not written as bytes")
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(_signed(number))
    return numbers


def _signed(value: Value) -> int:
    if not isinstance(value, int):
        raise ValueError("no ONNX: a number was expected")
    return value - (1 << 64) if value >> 63 else value


def _message(value: Value) -> memoryview:
    if isinstance(value, int):
        raise ValueError("no ONNX: a message was expected")
    return value


def _text(value: Value | bytes) -> str:
    if isinstance(value, int):
        raise ValueError("no ONNX: a text was expected")
    return bytes(value).decode(errors="replace")
