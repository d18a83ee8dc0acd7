import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from sentiment_k8s.errors import DatabaseUnavailable, RowsRefused
from sentiment_k8s.group_commit import MOST_ROWS_IN_A_COMMIT
from sentiment_k8s.metrics import Metrics
from sentiment_k8s.records import (
    Identities,
    PredictionRow,
    Recorder,
    time_in,
)
from sentiment_k8s.testing import MemoryStore, example_row

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOON_NS = int(NOON.timestamp()) * 1_000_000_000


class SetClock:
    """A clock that shows what it is set to."""

    def __init__(self, nanoseconds: int) -> None:
        self.nanoseconds = nanoseconds

    def __call__(self) -> int:
        return self.nanoseconds


async def in_flight(recorder: Recorder, *calls: list[str]) -> list[asyncio.Task[None]]:
    """Calls of `record`, each with rows of these texts, that wait together."""
    tasks = [
        asyncio.create_task(recorder.record([example_row(text) for text in texts]))
        for texts in calls
    ]
    await asyncio.sleep(0)
    return tasks


def texts(store: MemoryStore) -> list[list[str]]:
    """The texts in each commit."""
    return [[row.text for row in commit] for commit in store.commits]


# Identities


def test_an_id_is_a_uuid_of_version_7_with_the_time_in_it() -> None:
    identity, created_at = Identities(SetClock(NOON_NS + 123_456_789)).next()
    assert (identity.version, identity.variant) == (7, "specified in RFC 4122")
    assert created_at == NOON.replace(microsecond=123_000)
    assert identity.int >> 80 == created_at.timestamp() * 1000


def test_five_thousand_ids_of_one_millisecond_rise() -> None:
    identities = Identities(SetClock(NOON_NS))
    made = [identities.next() for _ in range(5000)]
    ids = [identity for identity, _ in made]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert {identity.version for identity in ids} == {7}


def test_a_time_is_always_the_one_in_its_id() -> None:
    identities = Identities(SetClock(NOON_NS))
    for identity, created_at in (identities.next() for _ in range(5000)):
        assert identity.int >> 80 == created_at.timestamp() * 1000


def test_ids_rise_while_the_clock_is_set_back_a_little() -> None:
    clock = SetClock(NOON_NS)
    identities = Identities(clock)
    before, _ = identities.next()
    clock.nanoseconds -= 5 * 1_000_000_000
    after, created_at = identities.next()
    assert after > before
    assert created_at == NOON


def test_a_clock_that_had_been_far_ahead_and_was_mended_is_followed() -> None:
    clock = SetClock(NOON_NS + 3600 * 1_000_000_000)
    identities = Identities(clock)
    identities.next()
    clock.nanoseconds = NOON_NS
    assert identities.next()[1] == NOON


def test_ids_of_two_servers_in_the_same_millisecond_differ() -> None:
    clock = SetClock(NOON_NS)
    assert Identities(clock).next() != Identities(clock).next()


# The recorder


async def test_a_call_returns_once_its_rows_are_durable() -> None:
    store = MemoryStore()
    store.hold()
    [call] = await in_flight(Recorder(store, Metrics()), ["one"])
    await store.under_way.wait()
    assert not call.done()
    store.release()
    await call
    assert texts(store) == [["one"]]


async def test_rows_that_arrive_during_a_commit_share_the_next_one() -> None:
    store = MemoryStore()
    store.hold()
    recorder = Recorder(store, Metrics())
    calls = await in_flight(recorder, ["one"])
    await store.under_way.wait()
    calls += await in_flight(recorder, ["two", "three"], ["four"])
    store.release()
    await asyncio.gather(*calls)
    assert texts(store) == [["one"], ["two", "three", "four"]]


async def test_a_commit_that_hangs_keeps_nothing_of_those_who_have_gone() -> None:
    store = MemoryStore()
    store.hold()
    recorder = Recorder(store, Metrics())
    calls = await in_flight(recorder, ["one"])
    await store.under_way.wait()
    gone = await in_flight(recorder, ["two"], ["three"])
    for call in gone:
        call.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    assert not recorder._waiting
    store.release()
    await asyncio.gather(*calls)
    assert texts(store) == [["one"]]


async def test_a_failed_commit_fails_exactly_its_waiters_and_the_next_one_works() -> None:
    store = MemoryStore()
    store.hold()
    recorder = Recorder(store, Metrics())
    first = await in_flight(recorder, ["one"], ["two"])
    await store.under_way.wait()
    [second] = await in_flight(recorder, ["three"])
    store.failure = DatabaseUnavailable("PostgreSQL is away.")
    store.release()
    assert [type(e) for e in await asyncio.gather(*first, return_exceptions=True)] == [
        DatabaseUnavailable,
        DatabaseUnavailable,
    ]
    await second
    assert texts(store) == [["three"]]


async def test_a_row_that_cannot_be_held_fails_its_own_call_only() -> None:
    store = MemoryStore()
    recorder = Recorder(store, Metrics())
    good, bad = example_row(), example_row("half a character")
    store.failure = RowsRefused({bad.id: "CharacterNotInRepertoire"})
    outcomes = await asyncio.gather(
        recorder.record([good]), recorder.record([bad]), return_exceptions=True
    )
    assert outcomes[0] is None
    assert isinstance(outcomes[1], RowsRefused)


async def test_an_unforeseen_error_of_the_store_reaches_the_waiter_too() -> None:
    store = MemoryStore()
    store.failure = RuntimeError("a fault of ours")
    with pytest.raises(RuntimeError, match="a fault of ours"):
        await Recorder(store, Metrics()).record([example_row()])


async def test_a_waiter_that_leaves_during_its_commit_disturbs_nobody() -> None:
    store = MemoryStore()
    store.hold()
    recorder = Recorder(store, Metrics())
    leaves, stays = await in_flight(recorder, ["leaves"], ["stays"])
    await store.under_way.wait()
    leaves.cancel()
    store.release()
    await stays
    assert leaves.cancelled()
    assert texts(store) == [["leaves", "stays"]]


async def test_a_waiter_that_leaves_before_its_commit_writes_nothing() -> None:
    store = MemoryStore()
    store.hold()
    recorder = Recorder(store, Metrics())
    [first] = await in_flight(recorder, ["first"])
    await store.under_way.wait()
    leaves, stays = await in_flight(recorder, ["leaves"], ["stays"])
    leaves.cancel()
    store.release()
    await asyncio.gather(first, stays)
    assert texts(store) == [["first"], ["stays"]]


async def test_a_commit_has_a_bounded_number_of_rows() -> None:
    store = MemoryStore()
    store.hold()
    recorder = Recorder(store, Metrics())
    calls = await in_flight(recorder, ["first"])
    await store.under_way.wait()
    calls += await in_flight(recorder, *[["text"] * 256] * 9)
    store.release()
    await asyncio.gather(*calls)
    assert [len(commit) for commit in store.commits] == [1, 1024, 1024, 256]


async def test_one_call_with_more_rows_than_a_commit_takes_is_written_whole() -> None:
    store = MemoryStore()
    await Recorder(store, Metrics()).record([example_row()] * (MOST_ROWS_IN_A_COMMIT + 1))
    assert [len(commit) for commit in store.commits] == [MOST_ROWS_IN_A_COMMIT + 1]


async def test_closing_waits_until_everything_is_durable() -> None:
    store = MemoryStore()
    store.hold()
    recorder = Recorder(store, Metrics())
    calls = await in_flight(recorder, ["one"])
    await store.under_way.wait()
    calls += await in_flight(recorder, ["two"])
    closing = asyncio.create_task(recorder.close())
    await asyncio.sleep(0)
    assert not closing.done()
    store.release()
    await closing
    assert texts(store) == [["one"], ["two"]]
    await asyncio.gather(*calls)


async def test_closing_an_idle_recorder_returns() -> None:
    await Recorder(MemoryStore(), Metrics()).close()


async def test_rows_and_failed_commits_are_counted() -> None:
    store, metrics = MemoryStore(), Metrics()
    recorder = Recorder(store, metrics)
    await recorder.record([example_row(), example_row()])
    store.failure = DatabaseUnavailable("PostgreSQL is away.")
    with pytest.raises(DatabaseUnavailable):
        await recorder.record([example_row()])
    value = metrics.registry.get_sample_value
    assert value("sentiment_rows_total") == 2
    assert value("sentiment_commit_failures_total") == 1
    assert value("sentiment_commit_seconds_count") == 2


class RefusingStore(MemoryStore):
    """Keeps all rows but those of a certain text, as the database does with bad values."""

    async def insert(self, rows: Sequence[PredictionRow]) -> None:
        await super().insert([row for row in rows if row.text != "bad"])
        if refused := {row.id: "DataError" for row in rows if row.text == "bad"}:
            raise RowsRefused(refused)


async def test_a_row_that_cannot_be_kept_fails_its_own_caller_and_no_neighbour() -> None:
    store, metrics = RefusingStore(), Metrics()
    good, bad, fine = await in_flight(Recorder(store, metrics), ["good"], ["bad"], ["fine"])
    await asyncio.gather(good, fine)
    with pytest.raises(RowsRefused, match="cannot hold this text"):
        await bad
    assert texts(store) == [["good", "fine"]]
    assert metrics.registry.get_sample_value("sentiment_rows_total") == 2


def test_the_time_in_an_id_is_its_rows_time() -> None:
    row = example_row()
    assert time_in(row.id) == row.created_at
