import asyncio

import pytest

from sentiment_k8s.admission import Admission, estimated_tokens
from sentiment_k8s.errors import Overloaded


def test_requests_are_admitted_up_to_the_limit_and_not_beyond() -> None:
    admission = Admission(100)
    with admission.admit(60), admission.admit(40):
        with pytest.raises(Overloaded, match="100 tokens are in flight and 100 are allowed"):
            admission.admit(1)


def test_a_refusal_says_when_to_retry() -> None:
    admission = Admission(1)
    with admission.admit(1), pytest.raises(Overloaded) as caught:
        admission.admit(1)
    assert caught.value.retry_after == 1


def test_a_refused_request_takes_no_room() -> None:
    admission = Admission(100)
    with admission.admit(60):
        with pytest.raises(Overloaded):
            admission.admit(60)
        with admission.admit(40):
            assert admission.in_flight == 100


def test_one_request_larger_than_the_limit_is_admitted_alone() -> None:
    admission = Admission(100)
    with admission.admit(1_000_000):
        with pytest.raises(Overloaded):
            admission.admit(1)


def test_a_request_larger_than_the_limit_waits_its_turn() -> None:
    admission = Admission(100)
    with admission.admit(1):
        with pytest.raises(Overloaded):
            admission.admit(1_000_000)


def test_the_exact_count_replaces_the_estimate() -> None:
    admission = Admission(100)
    with admission.admit(90) as permit:
        permit.settle(30)
        assert admission.in_flight == 30
        admission.admit(70)


def test_room_is_given_back_at_the_end() -> None:
    admission = Admission(100)
    with admission.admit(90) as permit:
        permit.settle(95)
    assert admission.in_flight == 0


def test_room_is_given_back_after_an_error() -> None:
    admission = Admission(100)
    with pytest.raises(ZeroDivisionError):
        with admission.admit(90):
            raise ZeroDivisionError
    assert admission.in_flight == 0


async def test_room_is_given_back_when_the_request_is_cancelled() -> None:
    admission = Admission(100)
    admitted = asyncio.Event()

    async def request() -> None:
        with admission.admit(90):
            admitted.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(request())
    await admitted.wait()
    assert admission.in_flight == 90
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert admission.in_flight == 0


def test_an_estimate_grows_with_the_texts_and_stops_at_the_models_limit() -> None:
    assert estimated_tokens(["a"], 512) == 2
    assert estimated_tokens(["x" * 400], 512) == 102
    assert estimated_tokens(["x" * 400] * 3, 512) == 306
    assert estimated_tokens(["x" * 1_000_000], 512) == 512


def test_an_estimate_does_not_take_chinese_for_a_quarter_of_what_it_is() -> None:
    assert estimated_tokens(["电影" * 200], 512) == 302


def test_it_is_full_when_hardly_any_room_is_left() -> None:
    admission = Admission(512)
    with admission.admit(509):
        assert not admission.full
        with admission.admit(1):
            assert admission.full
    assert not admission.full
