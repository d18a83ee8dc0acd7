import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.utils import (  # type: ignore[import-untyped]
    deserialize_bytes_tensor,
    serialize_byte_tensor,
)

from sentiment_k8s.api.tensors import Tensor, pack, split, unpack_texts
from sentiment_k8s.errors import InputError, RequestError

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"])))


def packed(texts: list[str]) -> bytes:
    return pack(Tensor("text", "BYTES", [len(texts)], texts))


@given(TEXTS)
def test_texts_come_back_as_they_were_packed(texts: list[str]) -> None:
    assert unpack_texts(packed(texts), len(texts)) == texts


@given(TEXTS)
def test_tritons_own_codec_agrees(texts: list[str]) -> None:
    by_triton = serialize_byte_tensor(np.array(texts, object))
    assert packed(texts) == (by_triton.item() if by_triton.size else b"")
    assert [text.decode() for text in deserialize_bytes_tensor(packed(texts))] == texts


@given(st.binary(), st.integers(0, 10**18))
def test_any_bytes_are_texts_or_refused(data: bytes, count: int) -> None:
    try:
        texts = unpack_texts(data, count)
    except RequestError:
        return
    assert len(texts) == count
    assert packed(texts) == data


@given(TEXTS.filter(bool), st.data())
def test_a_tensor_cut_short_is_refused(texts: list[str], data: st.DataObject) -> None:
    whole = packed(texts)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(RequestError):
        unpack_texts(whole[:cut], len(texts))


def test_a_length_that_lies_is_refused() -> None:
    with pytest.raises(RequestError, match="check its lengths"):
        unpack_texts(b"\xff\xff\xff\xffabc", 1)
    with pytest.raises(RequestError, match="check its lengths"):
        unpack_texts(b"\x00", 1)


def test_bytes_that_are_not_utf8_are_refused_by_number() -> None:
    with pytest.raises(InputError, match="Text 2"):
        unpack_texts(packed(["a"]) + b"\x02\x00\x00\x00\xff\xfe", 2)


def test_data_is_not_read_beyond_the_shape() -> None:
    with pytest.raises(RequestError, match="the shape"):
        unpack_texts(b"\x00\x00\x00\x00" * 100_000, 3)


def test_numbers_are_little_endian() -> None:
    assert pack(Tensor("score", "FP32", [2], [1.0, -2.5])) == b"\0\0\x80\x3f\0\0\x20\xc0"
    assert pack(Tensor("truncated", "BOOL", [2], [True, False])) == b"\x01\x00"


def test_without_a_header_all_is_json() -> None:
    assert split(b"{}", None) == (b"{}", b"")


def test_binary_data_follows_the_json() -> None:
    assert split(b"{}abc", "2") == (b"{}", b"abc")


@pytest.mark.parametrize("header", ["", "0", "6", "-2", "2.0", "0x2", " 2", "²", "9" * 5000])
def test_a_header_that_does_not_fit_the_body_is_refused(header: str) -> None:
    with pytest.raises(RequestError, match="length of the JSON"):
        split(b"{}abc", header)
