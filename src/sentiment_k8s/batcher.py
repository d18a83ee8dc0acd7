"""Batching without a timer: while one batch runs in a thread, the next one forms.

The oldest waiting item is always in the next batch, so nobody starves; beside it come those of
nearly its size, so little is padded. A batch that fails is retried item by item, so that a poison
text hurts only itself. An item whose waiter has gone (deadline, hung-up client) is not computed.
"""

import asyncio
import logging
import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from .errors import InferenceError
from .logs import whereabouts

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Group(Generic[Result]):
    """The items of one caller: one future for all of them."""

    def __init__(self, size: int) -> None:
        self.results: list[Result | None] = [None] * size
        self.missing = size
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def deliver(self, index: int, result: Result) -> None:
        self.results[index] = result
        self.missing -= 1
        if not self.missing and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class _Entry(Generic[Item, Result]):
    """One waiting item. Ordered by size, then by arrival."""

    __slots__ = ("group", "index", "item", "key", "taken")

    def __init__(self, key: tuple[int, int], item: Item, group: _Group[Result], index: int) -> None:
        self.key = key
        self.item = item
        self.group = group
        self.index = index
        self.taken = False

    def __lt__(self, other: "_Entry[Item, Result]") -> bool:
        return self.key < other.key


class Batcher(Generic[Item, Result]):
    """Runs a blocking function over batches of whatever has arrived meanwhile.

    Args:
        run: the function, called in a thread of this batcher's own with a list of items;
            answers one result an item, in order.
        size: an item's size, for instance its tokens.
        budget: bound on a batch's number of items times its largest size. One item may exceed it.
        most_padding: bound on the padding that one more item may bring to a batch. It should be
            what a batch costs beyond its tokens: more padding is dearer than a batch of its own.
        name: of the thread.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Result]],
        size: Callable[[Item], int],
        *,
        budget: int,
        most_padding: float = math.inf,
        name: str = "batcher",
    ) -> None:
        self._run = run
        self._size = size
        self._budget = budget
        self._most_padding = most_padding
        self._by_size: list[_Entry[Item, Result]] = []
        self._by_arrival: deque[_Entry[Item, Result]] = deque()
        self._arrivals = 0
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    @property
    def waiting(self) -> int:
        """Items that wait for a batch."""
        return len(self._by_size)

    async def submit(self, items: Sequence[Item]) -> list[Result]:
        """The results of `items`, in order. Cancelling the call drops what has not run yet,
        and so does the failure of one of them.

        Raises:
            InferenceError: the function failed on one of them, alone.
        """
        if not items:
            return []
        group: _Group[Result] = _Group(len(items))
        entries = [self._enter(item, group, index) for index, item in enumerate(items)]
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name="batcher")
        try:
            await group.done
        except BaseException:
            self._withdraw(entries)
            raise
        return group.results  # type: ignore[return-value]  # none is missing

    async def close(self) -> None:
        """Finish what waits, then end the thread."""
        while self._worker is not None:
            await asyncio.shield(self._worker)
        self._thread.shutdown(wait=False)

    def _enter(self, item: Item, group: _Group[Result], index: int) -> _Entry[Item, Result]:
        self._arrivals += 1
        entry = _Entry((self._size(item), self._arrivals), item, group, index)
        insort(self._by_size, entry)
        self._by_arrival.append(entry)
        return entry

    def _withdraw(self, entries: list[_Entry[Item, Result]]) -> None:
        for entry in entries:
            if not entry.taken:
                entry.taken = True
                del self._by_size[bisect_left(self._by_size, entry)]

    async def _work(self) -> None:
        try:
            while batch := self._next_batch():
                try:
                    await self._run_batch(batch)
                except Exception as error:
                    await self._run_one_by_one(batch, error)
        finally:
            self._worker = None

    async def _run_batch(self, batch: list[_Entry[Item, Result]]) -> None:
        items = [entry.item for entry in batch]
        loop = asyncio.get_running_loop()
        results = await loop.run_in_executor(self._thread, self._run, items)
        if len(results) != len(batch):
            raise ValueError(f"{len(results)} results for {len(batch)} items")
        for entry, result in zip(batch, results, strict=True):
            entry.group.deliver(entry.index, result)

    async def _run_one_by_one(self, batch: list[_Entry[Item, Result]], error: Exception) -> None:
        for entry in batch:
            if entry.group.done.done():
                continue
            try:
                if len(batch) == 1:
                    raise error
                await self._run_batch([entry])
            except Exception as cause:
                which = f"text {entry.index + 1}" if len(entry.group.results) > 1 else "the text"
                logger.error("A batch of one failed: %s", whereabouts(cause))
                failure = InferenceError(f"The model failed on {which}; the log says why.")
                failure.__cause__ = cause
                entry.group.fail(failure)

    def _next_batch(self) -> list[_Entry[Item, Result]]:
        while self._by_arrival:
            oldest = self._by_arrival.popleft()
            if oldest.taken:
                continue
            first, end = self._window(bisect_left(self._by_size, oldest))
            batch = self._by_size[first:end]
            del self._by_size[first:end]
            for entry in batch:
                entry.taken = True
            # A waiter that has just gone may not have had its turn to withdraw.
            if wanted := [entry for entry in batch if not entry.group.done.done()]:
                return wanted
        return []

    def _window(self, anchor: int) -> tuple[int, int]:
        """Bounds of the batch around `anchor` in the order of size, grown by least padding."""
        first, end = anchor, anchor + 1
        while True:
            shorter, longer = self._padding_of_one_more(first, end)
            if min(shorter, longer) > self._most_padding or math.isinf(min(shorter, longer)):
                return first, end
            if shorter < longer:
                first -= 1
            else:
                end += 1

    def _padding_of_one_more(self, first: int, end: int) -> tuple[float, float]:
        """What the next shorter and the next longer item would bring; infinite without one that
        fits the budget."""
        entries = self._by_size
        count, largest = end - first, entries[end - 1].key[0]
        shorter = longer = math.inf
        if first and (count + 1) * largest <= self._budget:
            shorter = largest - entries[first - 1].key[0]
        if end < len(entries) and (count + 1) * entries[end].key[0] <= self._budget:
            longer = (entries[end].key[0] - largest) * count
        return shorter, longer
