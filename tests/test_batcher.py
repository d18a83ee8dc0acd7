import asyncio
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_k8s.batcher import Batcher
from sentiment_k8s.errors import InferenceError


class Machine:
    """Runs batches when told to: stands in for the model, in the batcher's thread.

    An item is a string whose length is its size; its result is itself in upper case. An item with
    "poison" in it fails every batch that it is in.
    """

    def __init__(self, *, running: bool = True) -> None:
        self.batches: list[list[str]] = []
        self.started = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._gate = threading.Event()
        if running:
            self._gate.set()

    def run(self, batch: list[str]) -> Sequence[str]:
        self.batches.append(batch)
        self._loop.call_soon_threadsafe(self.started.set)
        assert self._gate.wait(20), "the test never released the machine"
        if any("poison" in item for item in batch):
            raise ValueError("poison")
        return [item.upper() for item in batch]

    def release(self) -> None:
        """Run the batch that waits, and all later ones."""
        self._gate.set()


def batcher(machine: Machine, budget: int = 1000, **more: float) -> Batcher[str, str]:
    return Batcher(machine.run, len, budget=budget, name="test", **more)


async def submitted(to: Batcher[str, str], *items: str) -> asyncio.Task[list[str]]:
    """A call of `submit` whose items wait."""
    task = asyncio.create_task(to.submit(items))
    await asyncio.sleep(0)
    return task


async def busy(
    budget: int = 1000, **more: float
) -> tuple[Machine, Batcher[str, str], asyncio.Task[list[str]]]:
    """A batcher whose first batch is under way, so that what comes now must wait."""
    machine = Machine(running=False)
    queue = batcher(machine, budget, **more)
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


@given(sizes=sizes, budget=st.integers(1, 200), most_padding=st.integers(0, 20))
def test_batches_keep_their_bounds_and_lose_nobody(
    sizes: list[int], budget: int, most_padding: int
) -> None:
    async def run() -> list[list[str]]:
        machine = Machine()
        queue = batcher(machine, budget, most_padding=most_padding)
        items = [f"{number:<{size}}" for number, size in enumerate(sizes)]
        calls = [await submitted(queue, item) for item in items]
        assert await asyncio.gather(*calls) == [[item.upper()] for item in items]
        await queue.close()
        return machine.batches

    batches = asyncio.run(run())
    assert sum(map(len, batches)) == len(sizes)
    for batch in batches:
        lengths = [len(item) for item in batch]
        assert len(batch) == 1 or len(batch) * max(lengths) <= budget
        assert len(batch) * max(lengths) - sum(lengths) <= most_padding * (len(batch) - 1)


@given(sizes=sizes, budget=st.integers(1, 200))
def test_the_oldest_item_is_always_in_the_next_batch(sizes: list[int], budget: int) -> None:
    """So nobody starves, whatever else arrives."""

    async def run() -> tuple[list[str], list[list[str]]]:
        machine, queue, first = await busy(budget)
        items = [f"{number:<{size}}" for number, size in enumerate(sizes)]
        calls = [await submitted(queue, item) for item in items]
        machine.release()
        await asyncio.gather(first, *calls)
        await queue.close()
        return items, machine.batches[1:]

    waiting, batches = asyncio.run(run())
    for batch in batches:
        assert waiting[0] in batch
        waiting = [item for item in waiting if item not in batch]


@given(sizes=sizes, budget=st.integers(1, 200), most_padding=st.integers(0, 20))
def test_a_batch_is_neighbours_in_size(sizes: list[int], budget: int, most_padding: int) -> None:
    """Nobody is left out who would need less padding than somebody who is taken."""

    async def run() -> list[list[str]]:
        machine, queue, first = await busy(budget, most_padding=most_padding)
        calls = [await submitted(queue, "x" * size) for size in sizes]
        machine.release()
        await asyncio.gather(first, *calls)
        await queue.close()
        return machine.batches[1:]

    batches = [[len(item) for item in batch] for batch in asyncio.run(run())]
    waiting = sorted(sizes)
    for batch in batches:
        assert batch == sorted(batch)
        left_between = [size for size in waiting if batch[0] < size < batch[-1]]
        assert left_between == [size for size in batch if batch[0] < size < batch[-1]]
        for size in batch:
            waiting.remove(size)


async def test_an_item_over_the_budget_runs_alone() -> None:
    machine, queue, first = await busy(budget=10)
    calls = [await submitted(queue, "x" * 50), await submitted(queue, "y" * 50)]
    machine.release()
    await asyncio.gather(first, *calls)
    assert machine.batches[1:] == [["x" * 50], ["y" * 50]]
    await queue.close()


async def test_a_long_item_is_not_starved_by_a_flood_of_short_ones() -> None:
    machine, queue, first = await busy(budget=10, most_padding=0)
    long = await submitted(queue, "x" * 100)
    flood = [await submitted(queue, "s") for _ in range(500)]
    machine.release()
    await asyncio.gather(first, long, *flood)
    assert machine.batches[1] == ["x" * 100]
    await queue.close()


async def test_a_batch_takes_who_still_fits_when_the_nearest_does_not() -> None:
    """The next longer one would break the budget; the next shorter one, a little further, not."""
    machine, queue, first = await busy(budget=30, most_padding=8)
    calls = [await submitted(queue, "x" * size) for size in (15, 16, 12)]
    machine.release()
    await asyncio.gather(first, *calls)
    assert [[len(item) for item in batch] for batch in machine.batches[1:]] == [[12, 15], [16]]
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
    """A budget of 7 puts "poison" in a batch of its own, before its caller's other item."""
    machine, queue, first = await busy(budget=7)
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
    queue: Batcher[str, str] = Batcher(lambda batch: next(answers), len, budget=10)
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
    queue = batcher(machine)
    words = ["poison", "leaves", "stays"]
    poison, leaves, stays = [asyncio.create_task(queue.submit([word])) for word in words]
    await machine.started.wait()
    leaves.cancel()
    await asyncio.sleep(0)
    machine.release()
    assert await stays == ["STAYS"]
    with pytest.raises(InferenceError):
        await poison
    assert machine.batches == [["stays", "poison", "leaves"], ["stays"], ["poison"]]
    await queue.close()


async def test_a_cancelled_item_gives_its_place_up_at_once() -> None:
    machine, queue, first = await busy()
    leaves = await submitted(queue, "leaves", "too")
    assert queue.waiting == 2
    leaves.cancel()
    await asyncio.gather(leaves, return_exceptions=True)
    assert queue.waiting == 0
    machine.release()
    await asyncio.gather(first, queue.close())


# The end


async def test_closing_finishes_what_waits() -> None:
    machine, queue, first = await busy(budget=5)
    calls = [await submitted(queue, word) for word in ("one", "two", "three")]
    closing = asyncio.create_task(queue.close())
    machine.release()
    await closing
    assert [call.result() for call in (first, *calls)] == [["FIRST"], ["ONE"], ["TWO"], ["THREE"]]


async def test_closing_an_idle_batcher_ends_its_thread() -> None:
    queue: Batcher[str, str] = Batcher(lambda batch: batch, len, budget=9, name="own-thread")
    await queue.submit(["one"])
    [thread] = [t for t in threading.enumerate() if t.name.startswith("own-thread")]
    await queue.close()
    thread.join(20)
    assert not thread.is_alive()
