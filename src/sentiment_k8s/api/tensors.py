"""Tensors of the Open Inference Protocol as bytes: its binary tensor data extension.

Little endian, row-major, without padding; an element of BYTES is its length as an unsigned integer
of four bytes, and then that many bytes (Triton's docs/protocol/extension_binary_data.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..errors import InputError, RequestError

Datatype = Literal["BYTES", "FP32", "BOOL"]
LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named tensor; `data` has its elements in row-major order."""

    name: str
    datatype: Datatype
    shape: list[int]
    data: Sequence[Any]

    def described(self) -> dict[str, Any]:
        """As the protocol describes it, its data aside."""
        return {"name": self.name, "datatype": self.datatype, "shape": self.shape}


def split(body: bytes, header: str | None) -> tuple[bytes, bytes]:
    """A body's JSON, and the binary data after it.

    Args:
        body: as it was sent.
        header: `Inference-Header-Content-Length`, in bytes; without it all is JSON.

    Raises:
        RequestError: the header does not fit the body.
    """
    if header is None:
        return body, b""
    if not (header.isascii() and header.isdigit() and 0 < int(header[:20]) <= len(body)):
        raise RequestError(
            "Inference-Header-Content-Length must be the length of the JSON that the body begins "
            "with, in bytes."
        )
    length = int(header)
    return body[:length], body[length:]


def unpack_texts(data: bytes, count: int) -> list[str]:
    """The elements of a BYTES tensor, which are UTF-8.

    Args:
        data: the tensor's, and no more.
        count: of elements, by its shape.

    Raises:
        InputError: an element is not UTF-8.
        RequestError: the lengths in `data` do not fit it, or there are not `count` of them.
    """
    texts: list[str] = []
    at = 0
    while at < len(data) and len(texts) <= count:
        start = at + LENGTH_BYTES
        at = start + int.from_bytes(data[at:start], "little")
        if at > len(data):
            raise RequestError("The binary data ends within an element: check its lengths.")
        try:
            texts.append(data[start:at].decode())
        except UnicodeDecodeError:
            raise InputError(f"Text {len(texts) + 1} is not UTF-8: encode it as such.") from None
    check_count(len(texts), count)
    return texts


def check_count(found: int, count: int) -> None:
    """Refuse data with another number of elements than its shape says.

    Raises:
        RequestError: they differ.
    """
    if found != count:
        raise RequestError("The data has not as many elements as the shape says: make them agree.")


def pack(tensor: Tensor) -> bytes:
    """A tensor's data as bytes."""
    match tensor.datatype:
        case "BYTES":
            texts = [text.encode() for text in tensor.data]
            return b"".join(len(text).to_bytes(LENGTH_BYTES, "little") + text for text in texts)
        case "FP32":
            return np.asarray(tensor.data, "<f4").tobytes()
        case "BOOL":
            return bytes(tensor.data)
