from hypothesis import example, given
from hypothesis import strategies as st

from sentiment_k8s.spool.format import HEADER_BYTES, MARKER, encode, is_torn, parts, payload_of

payloads = st.lists(st.text(max_size=40).map(str.encode), min_size=1, max_size=8)
# Bytes that are no record: anything, headers without their payloads, records with their ends off.
garbage = st.one_of(
    st.binary(min_size=1, max_size=60),
    st.just(MARKER),
    st.text(min_size=1, max_size=20).map(lambda text: encode(text.encode())[:HEADER_BYTES]),
    st.text(min_size=1, max_size=20).map(lambda text: encode(text.encode())[:-1]),
)


def kept(data: bytes) -> list[bytes]:
    return [payload_of(data, part) for part in parts(data) if part.intact]


def damage(data: bytes) -> list[tuple[int, int]]:
    return [(part.start, part.end) for part in parts(data) if not part.intact]


def starts(content: list[bytes]) -> list[int]:
    """Where each record begins, and where the last one ends."""
    places = [0]
    for payload in content:
        places.append(places[-1] + HEADER_BYTES + len(payload))
    return places


@given(payloads)
def test_what_goes_in_comes_out(content: list[bytes]) -> None:
    data = b"".join(map(encode, content))
    assert kept(data) == content
    assert not damage(data)


@given(payloads, st.data())
def test_cut_anywhere_all_whole_records_are_kept_and_the_rest_is_torn(
    content: list[bytes], choose: st.DataObject
) -> None:
    data = b"".join(map(encode, content))
    cut = data[: choose.draw(st.integers(0, len(data)))]
    places = starts(content)
    whole = sum(place <= len(cut) for place in places[1:])
    assert kept(cut) == content[:whole]
    left = cut[places[whole] :]
    assert damage(cut) == ([(places[whole], len(cut))] if left else [])
    assert not left or is_torn(left)


@given(payloads, st.integers(1, 255), st.data())
def test_a_byte_changed_anywhere_costs_its_own_record_only_and_is_damage(
    content: list[bytes], change: int, choose: st.DataObject
) -> None:
    data = bytearray(b"".join(map(encode, content)))
    position = choose.draw(st.integers(0, len(data) - 1))
    data[position] ^= change
    places = starts(content)
    hit = sum(place <= position for place in places) - 1
    assert kept(bytes(data)) == content[:hit] + content[hit + 1 :]
    assert damage(bytes(data)) == [(places[hit], places[hit + 1])]
    assert not is_torn(bytes(data[places[hit] :]))


@given(payloads, st.lists(garbage, min_size=1, max_size=8))
@example([b""], [b"\xff"])
@example([b"a", b"b"], [b"\0" * HEADER_BYTES, encode(b"much longer than what follows" * 9)[:20]])
def test_garbage_between_records_costs_none_and_makes_none(
    content: list[bytes], rubbish: list[bytes]
) -> None:
    rubbish = (rubbish * len(content))[: len(content)]
    data = b"".join(
        waste + encode(payload) for waste, payload in zip(rubbish, content, strict=True)
    )
    assert kept(data) == content
    assert [data[start:end] for start, end in damage(data)] == rubbish


@given(st.binary(max_size=400))
def test_nothing_is_made_of_bytes_that_nobody_encoded(data: bytes) -> None:
    assert kept(data) == []
    assert sum(part.end - part.start for part in parts(data)) == len(data)


def test_a_record_within_a_text_is_not_taken_for_one() -> None:
    text = encode(b"inner").decode("latin-1").encode()
    assert kept(b"rubbish" + encode(text)) == [text]


def test_zeros_at_the_end_are_what_a_power_cut_leaves() -> None:
    assert is_torn(bytes(5000))
    assert not is_torn(bytes(5000) + b"\1")
