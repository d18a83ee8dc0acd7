import asyncio
import gc
import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_k8s.batcher import Batcher, cuts, runs
from sentiment_k8s.errors import InferenceError, SentimentError, TooLarge


class Machine:
    """Runs batches when told to: stands in for the model, in the batcher's thread.

    An item is a string whose length is its size; its result is itself in upper case. An item with
    "poison" in it fails every batch that it is in.
    """

    def __init__(self, *, running: bool = True) -> None:
        self.batches: list[list[str]] = []
        self.started = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._running = running
        self._gate = threading.Semaphore(0)

    def run(self, batch: list[str]) -> Sequence[str]:
        self.batches.append(batch)
        self._loop.call_soon_threadsafe(self.started.set)
        if not self._running:
            assert self._gate.acquire(timeout=20), "the test never released the machine"
        if any("poison" in item for item in batch):
            raise ValueError("poison")
        return [item.upper() for item in batch]

    def release(self) -> None:
        """Run the batch that waits, and all later ones."""
        self._running = True
        self._gate.release()

    def release_one(self) -> None:
        """Run the batch that waits; the next one waits again."""
        self._gate.release()


Words = Batcher[str, str, str]


def batcher(machine: Machine, budget: int = 1000, threads: int = 1, **more: Any) -> Words:
    return Batcher(
        list,
        machine.run,
        len,
        weight=len,
        budget=budget,
        threads=threads,
        name="test",
        **more,
    )


async def submitted(to: Words, *items: str) -> asyncio.Task[list[str]]:
    """A call of `submit` whose items wait."""
    task = asyncio.create_task(to.submit(items))
    await asyncio.sleep(0)
    return task


async def busy(
    budget: int = 1000, threads: int = 1, **more: float
) -> tuple[Machine, Words, asyncio.Task[list[str]]]:
    """A batcher whose first batch is under way, so that what comes now must wait."""
    machine = Machine(running=False)
    queue = batcher(machine, budget, threads, **more)
    first = await submitted(queue, "first")
    await machine.started.wait()
    return machine, queue, first


# What a caller gets


async def test_results_come_in_the_callers_order() -> None:
    queue = batcher(Machine(), budget=8)
    assert await queue.submit(["ccc", "a", "bb", "a"]) == ["CCC", "A", "BB", "A"]
    await queue.close()


async def test_no_items_give_no_results() -> None:
    machine = Machine()
    assert await batcher(machine).submit([]) == []
    assert machine.batches == []


async def test_while_one_batch_runs_the_next_one_forms() -> None:
    machine, queue, first = await busy()
    calls = [await submitted(queue, word) for word in ("one", "two", "six")]
    assert queue.waiting == 3
    machine.release()
    assert await asyncio.gather(first, *calls) == [["FIRST"], ["ONE"], ["TWO"], ["SIX"]]
    assert machine.batches == [["first"], ["one", "two", "six"]]
    await queue.close()


async def test_a_lone_item_does_not_wait_for_company() -> None:
    machine, queue, first = await busy()
    machine.release()
    assert await first == ["FIRST"]
    assert machine.batches == [["first"]]
    await queue.close()


# What a batch is made of

sizes = st.lists(st.integers(1, 60), min_size=1, max_size=60)


@given(sizes=sizes, budget=st.integers(1, 200), overhead=st.integers(0, 20))
def test_batches_keep_their_budget_and_lose_nobody(
    sizes: list[int], budget: int, overhead: int
) -> None:
    async def run() -> list[list[str]]:
        machine, queue, first = await busy(budget, overhead=overhead)
        items = [f"{number:<{size}}" for number, size in enumerate(sizes)]
        calls = [await submitted(queue, item) for item in items]
        machine.release()
        await first
        assert await asyncio.gather(*calls) == [[item.upper()] for item in items]
        await queue.close()
        return machine.batches[1:]

    batches = asyncio.run(run())
    assert sum(map(len, batches)) == len(sizes)
    for batch in batches:
        lengths = [len(item) for item in batch]
        assert len(batch) == 1 or len(batch) * max(lengths) <= budget


def cost(sizes: list[int], where: Sequence[tuple[int, int]], overhead: float) -> float:
    return sum((end - first) * sizes[first] + overhead for first, end in where)


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=9).map(
        lambda sizes: sorted(sizes, reverse=True)
    ),
    budget=st.integers(1, 90),
    overhead=st.integers(0, 20),
)
def test_no_other_cuts_cost_less(sizes: list[int], budget: int, overhead: int) -> None:
    """Against all there are, which are 2 to the power of the gaps."""
    others = []
    for choice in range(2 ** (len(sizes) - 1)):
        ends = [gap + 1 for gap in range(len(sizes) - 1) if choice >> gap & 1] + [len(sizes)]
        where = list(zip([0, *ends[:-1]], ends, strict=True))
        if all(end - first == 1 or (end - first) * sizes[first] <= budget for first, end in where):
            others.append(cost(sizes, where, overhead))
    assert cost(sizes, cuts(sizes, budget, overhead), overhead) == min(others)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([7], [(0, 1)]),
        ([600], [(0, 1)]),  # over the budget: alone
        ([30, 29, 20, 20, 5], [(0, 2), (2, 4), (4, 5)]),
        ([40] * 4, [(0, 2), (2, 4)]),  # two are what the budget of 100 holds
    ],
)
def test_items_are_cut_into_batches_of_nearly_one_size(
    sizes: list[int], expected: list[tuple[int, int]]
) -> None:
    assert cuts(sizes, 100, 4) == expected


async def test_what_a_batch_costs_decides_how_much_may_be_padded() -> None:
    for overhead, expected in (
        (0, [["x" * 9], ["x" * 8], ["x" * 6]]),
        (9, [["x" * 9, "x" * 8, "x" * 6]]),
    ):
        machine, queue, first = await busy(overhead=overhead)
        calls = [await submitted(queue, "x" * size) for size in (8, 6, 9)]
        machine.release()
        await asyncio.gather(first, *calls)
        assert machine.batches[1:] == expected
        await queue.close()


@given(sizes=sizes, round_budget=st.integers(1, 200))
def test_the_oldest_items_go_first(sizes: list[int], round_budget: int) -> None:
    """So nobody starves, whatever else arrives: a round is what arrived next, up to its budget."""

    async def run() -> tuple[list[str], list[str]]:
        machine, queue, first = await busy(1000, round_budget=round_budget, overhead=100)
        items = [f"{number:<{size}}" for number, size in enumerate(sizes)]
        calls = [await submitted(queue, item) for item in items]
        machine.release()
        await asyncio.gather(first, *calls)
        await queue.close()
        return items, [item for batch in machine.batches[1:] for item in batch]

    items, run_in_order = asyncio.run(run())
    while items:
        taken = 1
        while taken < len(items) and sum(map(len, items[: taken + 1])) <= round_budget:
            taken += 1
        assert sorted(run_in_order[:taken]) == sorted(items[:taken])
        items, run_in_order = items[taken:], run_in_order[taken:]


async def test_a_long_item_is_not_starved_by_a_flood_of_short_ones() -> None:
    machine, queue, first = await busy(budget=10, round_budget=20)
    before = [await submitted(queue, "s") for _ in range(20)]
    long = await submitted(queue, "x" * 100)
    after = [await submitted(queue, "s") for _ in range(500)]
    machine.release()
    await asyncio.gather(first, long, *before, *after)
    assert machine.batches.index(["x" * 100]) == 3  # the first, and two of ten
    await queue.close()


async def test_results_of_a_round_are_handed_over_together() -> None:
    """A batch that has run waits for the others: the event loop is woken once."""
    machine, queue, first = await busy(round_budget=10)
    calls = [await submitted(queue, word) for word in ("a", "bbbb", "cccc", "dd")]
    for batch in (["bbbb", "cccc"], ["a"]):
        machine.started.clear()
        machine.release_one()
        await machine.started.wait()
        assert machine.batches[-1] == batch
        assert not any(call.done() for call in calls)
    machine.started.clear()
    machine.release_one()
    await machine.started.wait()
    assert await asyncio.gather(*calls[:3]) == [["A"], ["BBBB"], ["CCCC"]]
    assert machine.batches[-1] == ["dd"]
    assert not calls[3].done()
    machine.release()
    await asyncio.gather(first, calls[3], queue.close())


# Reading


async def test_an_item_that_is_refused_when_it_is_read_is_never_run() -> None:
    machine = Machine()

    def read(items: list[str]) -> list[str | SentimentError]:
        return [TooLarge("too long") if len(item) > 3 else item for item in items]

    queue: Words = Batcher(read, machine.run, len, weight=len, budget=100)
    with pytest.raises(TooLarge):
        await queue.submit(["one", "three"])
    assert await queue.submit(["two"]) == ["TWO"]
    assert ["three"] not in machine.batches
    await queue.close()


async def test_an_item_that_cannot_be_read_hurts_only_itself() -> None:
    def read(items: list[str]) -> list[str]:
        if "poison" in items:
            raise ValueError("unreadable")
        return items

    machine = Machine(running=False)
    queue: Words = Batcher(read, machine.run, len, weight=len, budget=100)
    first = await submitted(queue, "first")
    await machine.started.wait()
    good, poison = [await submitted(queue, word) for word in ("good", "poison")]
    machine.release()
    assert await good == ["GOOD"]
    with pytest.raises(InferenceError) as caught:
        await poison
    assert str(caught.value.__cause__) == "unreadable"
    await asyncio.gather(first, queue.close())


async def test_a_huge_item_is_read_by_itself_and_the_others_run_before() -> None:
    reads: list[list[str]] = []

    def read(items: list[str]) -> list[str]:
        reads.append(items)
        return items

    machine = Machine(running=False)
    queue: Words = Batcher(
        read, machine.run, len, weight=len, most_weight=10, budget=1000, overhead=1000
    )
    first = await submitted(queue, "first")
    await machine.started.wait()
    calls = [await submitted(queue, word) for word in ("one", "two", "h" * 500, "six")]
    machine.release()
    await asyncio.gather(first, *calls)
    assert reads == [["first"], ["one", "two"], ["h" * 500], ["six"]]
    assert machine.batches[1:] == [["one", "two"], ["h" * 500], ["six"]]
    await queue.close()


# Faults


async def test_a_poison_item_hurts_only_itself() -> None:
    machine, queue, first = await busy()
    good, poison, fine = [await submitted(queue, word) for word in ("good", "poison", "fine")]
    machine.release()
    assert await good == ["GOOD"]
    assert await fine == ["FINE"]
    with pytest.raises(InferenceError) as caught:
        await poison
    assert isinstance(caught.value.__cause__, ValueError)
    assert await queue.submit(["later"]) == ["LATER"]
    await asyncio.gather(first, queue.close())


async def test_a_poison_item_alone_is_not_run_twice() -> None:
    machine = Machine()
    queue = batcher(machine)
    with pytest.raises(InferenceError):
        await queue.submit(["poison"])
    assert machine.batches == [["poison"]]
    await queue.close()


async def test_one_items_failure_withdraws_its_callers_other_items() -> None:
    """A round of 7 has "poison" alone, before its caller's other item."""
    machine, queue, first = await busy(round_budget=7)
    call = await submitted(queue, "poison", "never computed")
    machine.release()
    with pytest.raises(InferenceError):
        await call
    await asyncio.gather(first, queue.close())
    assert machine.batches == [["first"], ["poison"]]


@pytest.mark.parametrize("answer", [[], ["ONE", "TWO"]])
async def test_a_wrong_number_of_results_fails_the_item_and_not_the_batcher(
    answer: list[str],
) -> None:
    answers = iter([answer, ["LATER"]])
    queue: Words = Batcher(list, lambda batch: next(answers), len, weight=len, budget=10)
    with pytest.raises(InferenceError) as raised:
        await queue.submit(["one"])
    assert str(raised.value.__cause__) == f"{len(answer)} results for 1 items"
    assert await queue.submit(["later"]) == ["LATER"]
    await queue.close()


# Callers that leave


async def test_a_cancelled_item_is_never_computed() -> None:
    machine, queue, first = await busy()
    leaves, stays = await submitted(queue, "leaves"), await submitted(queue, "stays")
    leaves.cancel()
    machine.release()
    assert await stays == ["STAYS"]
    assert machine.batches == [["first"], ["stays"]]
    await asyncio.gather(first, queue.close())


async def test_when_all_waiters_are_gone_nothing_is_computed() -> None:
    machine, queue, first = await busy()
    calls = [await submitted(queue, "leaves", "with", "friends") for _ in range(10)]
    for call in calls:
        call.cancel()
    machine.release()
    await asyncio.gather(first, *calls, return_exceptions=True)
    assert machine.batches == [["first"]]
    assert queue.waiting == 0
    await queue.close()


async def test_a_caller_that_leaves_during_its_batch_disturbs_nobody() -> None:
    machine, queue, first = await busy()
    first.cancel()
    later = await submitted(queue, "later")
    machine.release()
    assert await later == ["LATER"]
    assert first.cancelled()
    await queue.close()


async def test_a_caller_that_has_left_is_left_out_of_a_retry() -> None:
    machine = Machine(running=False)
    queue = batcher(machine, overhead=100)
    together = ["poison", "leaves", "stays"]
    held = await submitted(queue, "held")
    await machine.started.wait()
    poison, leaves, stays = [await submitted(queue, word) for word in together]
    machine.started.clear()
    machine.release_one()
    await machine.started.wait()
    leaves.cancel()
    await asyncio.sleep(0)
    machine.release()
    assert await stays == ["STAYS"]
    with pytest.raises(InferenceError):
        await poison
    assert machine.batches == [["held"], together, ["poison"], ["stays"]]
    await asyncio.gather(held, queue.close())


async def test_a_cancelled_item_gives_its_place_up_at_once() -> None:
    machine, queue, first = await busy()
    leaves = await submitted(queue, "leaves", "too")
    assert queue.waiting == 2
    leaves.cancel()
    await asyncio.gather(leaves, return_exceptions=True)
    assert queue.waiting == 0
    machine.release()
    await asyncio.gather(first, queue.close())


# Several threads


class Meeting:
    """Runs a batch only beside others: each waits until so many are under way."""

    def __init__(self, threads: int) -> None:
        self.batches: list[list[str]] = []
        self._barrier = threading.Barrier(threads)

    def run(self, batch: list[str]) -> Sequence[str]:
        self.batches.append(batch)
        self._barrier.wait(20)
        return batch


async def test_calls_run_side_by_side() -> None:
    meeting = Meeting(3)
    queue: Words = Batcher(list, meeting.run, len, weight=len, budget=9, threads=3)
    answers = await asyncio.gather(*(queue.submit([word]) for word in ("one", "two", "six")))
    assert answers == [["one"], ["two"], ["six"]]
    await queue.close()


async def test_threads_with_nothing_to_do_share_the_items_of_one_call() -> None:
    machine = Machine()
    queue = batcher(machine, threads=2)
    for _ in range(1000):  # at first one may not have started
        machine.batches.clear()
        await queue.submit(["a", "b", "c", "d"])
        if len(machine.batches) > 1:
            break
    assert len(machine.batches) > 1
    assert sorted(item for batch in machine.batches for item in batch) == ["a", "b", "c", "d"]
    await queue.close()


async def test_what_one_thread_leaves_waits_for_no_other_that_is_busy() -> None:
    machine, queue, first = await busy(threads=2)
    machine.started.clear()
    second = await submitted(queue, "second")
    await machine.started.wait()  # both are busy
    calls = [await submitted(queue, word) for word in ("one", "two")]
    machine.release_one()
    machine.release_one()
    machine.release()
    assert await asyncio.gather(first, second, *calls) == [["FIRST"], ["SECOND"], ["ONE"], ["TWO"]]
    await queue.close()


async def test_a_caller_gets_its_own_error_and_not_that_of_a_retry_without_it() -> None:
    """One thread refuses a text while another retries the caller's other text, which stood beside
    somebody's poison, and is the first to hand over."""
    both_busy, refused = threading.Barrier(3), threading.Event()
    go, poisoned_told = threading.Event(), threading.Event()

    def read(items: list[str]) -> list[str | SentimentError]:
        return [TooLarge("too long") if item == "long" else item for item in items]

    def run(batch: list[str]) -> list[str]:
        match batch:
            case ["busy"]:
                both_busy.wait(20)
                assert go.wait(20)
            case ["last"]:
                refused.set()
                assert poisoned_told.wait(20)
            case _ if "poison" in batch:
                assert refused.wait(20)
                raise ValueError("poison")
        return batch

    queue: Words = Batcher(read, run, len, weight=lambda _: 1, most_weight=2, budget=99, threads=2)
    busy = [await submitted(queue, "busy") for _ in range(2)]
    await asyncio.to_thread(both_busy.wait, 20)
    poisoned = await submitted(queue, "poison")
    refused_one = await submitted(queue, "benign", "long")
    last = await submitted(queue, "last")
    go.set()
    with pytest.raises(InferenceError):
        await poisoned
    poisoned_told.set()
    with pytest.raises(TooLarge):
        await refused_one
    assert await last == ["last"]
    await asyncio.gather(*busy)
    await queue.close()


@given(calls=st.lists(st.lists(st.integers(1, 60), max_size=20), max_size=20))
def test_several_threads_lose_nobody_and_run_nothing_twice(calls: list[list[int]]) -> None:
    async def run() -> None:
        machine = Machine()
        queue = batcher(machine, 60, threads=3, round_budget=90, overhead=4)
        items = [
            [f"{number}-{place}".ljust(size) for place, size in enumerate(sizes)]
            for number, sizes in enumerate(calls)
        ]
        answers = await asyncio.gather(*(queue.submit(own) for own in items))
        assert answers == [[item.upper() for item in own] for own in items]
        await queue.close()
        ran = [item for batch in machine.batches for item in batch]
        assert sorted(ran) == sorted(item for own in items for item in own)

    asyncio.run(run())


# The end


async def test_closing_finishes_what_waits() -> None:
    machine, queue, first = await busy(budget=5)
    calls = [await submitted(queue, word) for word in ("one", "two", "three")]
    closing = asyncio.create_task(queue.close())
    machine.release()
    await closing
    assert [call.result() for call in (first, *calls)] == [["FIRST"], ["ONE"], ["TWO"], ["THREE"]]


@pytest.mark.parametrize("threads", [1, 3])
async def test_closing_an_idle_batcher_ends_its_threads(threads: int) -> None:
    queue: Words = Batcher(
        list, list, len, weight=len, budget=9, threads=threads, name="own-thread"
    )
    await queue.submit(["one"])
    running = [t for t in threading.enumerate() if t.name.startswith("own-thread")]
    assert len(running) == threads
    await queue.close()
    for thread in running:
        thread.join(20)
        assert not thread.is_alive()


@pytest.mark.parametrize("threads", [1, 3])
async def test_closing_a_busy_batcher_ends_its_threads(threads: int) -> None:
    machine = Machine(running=False)
    queue: Words = Batcher(
        list, machine.run, len, weight=len, budget=9, threads=threads, name="busy-thread"
    )
    call = await submitted(queue, "one")
    await machine.started.wait()
    closing = asyncio.create_task(queue.close())
    await asyncio.sleep(0)
    machine.release()
    await closing
    assert await call == ["ONE"]
    for thread in [t for t in threading.enumerate() if t.name.startswith("busy-thread")]:
        thread.join(20)
        assert not thread.is_alive()


@pytest.mark.parametrize("threads", [1, 3])
async def test_what_is_submitted_after_the_end_is_answered_too(threads: int) -> None:
    queue = batcher(Machine(), threads=threads)
    await queue.submit(["one"])
    closing = [asyncio.create_task(queue.close()) for _ in range(2)]
    await asyncio.sleep(0)
    assert await queue.submit(["two"]) == ["TWO"]
    await asyncio.gather(*closing)
    assert await queue.submit(["three"]) == ["THREE"]
    await queue.close()


# Without padding


@given(st.lists(st.integers(1, 60)), st.integers(1, 100))
def test_batches_without_padding_are_runs_within_the_budget(sizes: list[int], budget: int) -> None:
    found = runs(sizes, budget)
    assert [i for first, end in found for i in range(first, end)] == list(range(len(sizes)))
    for first, end in found:
        assert sum(sizes[first:end]) <= budget or end == first + 1
    for (first, end), (_, next_end) in pairwise(found):  # none could have taken one more
        assert next_end > end
        assert sum(sizes[first : end + 1]) > budget


async def test_without_padding_a_batch_holds_texts_of_any_length_as_they_came() -> None:
    machine = Machine(running=False)
    words = batcher(machine, budget=12, padded=False)
    waiting = [asyncio.create_task(words.submit([item])) for item in ("first", "a", "longer", "bb")]
    await machine.started.wait()
    machine.release()
    await asyncio.gather(*waiting)
    await words.close()
    assert [item for batch in machine.batches for item in batch] == ["first", "a", "longer", "bb"]
    assert any("a" in batch and len(batch) > 1 for batch in machine.batches)


async def test_what_was_answered_leaves_nothing_to_the_garbage_collector() -> None:
    """At full load its full rounds would hold up everybody for a third of a second."""
    words = batcher(Machine())
    await words.submit(["first"])
    gc.collect()
    gc.disable()
    try:
        await asyncio.gather(*(words.submit(["one", "two"]) for _ in range(5)))
        await words.submit(["last"])
        await words.close()
        left = [each for each in gc.get_objects() if type(each).__name__ == "_Group"]
        assert left == []
    finally:
        gc.enable()
