"""Batching without a timer: while some batches run in a thread, the next ones gather.

The thread goes in rounds. It reads what has arrived (tokenises it), takes the oldest items, cuts
them into batches of nearly one size, so that little is padded, runs these, hands over all results
at once, and begins again without waiting for the event loop. So nobody starves, and the event loop
is woken once a round: on few cores it and the model take turns at the caches, and each turn is paid
for anew (docs/decisions/0013-rounds.md). A batch that fails is retried item by item, so that a
poison text hurts only itself. An item whose waiter has gone (deadline, hung-up client) is not
computed.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

from .errors import InferenceError, SentimentError
from .logs import whereabouts

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Read = TypeVar("Read")
Result = TypeVar("Result")


class _Group(Generic[Item, Read, Result]):
    """The items of one caller: one future for all of them."""

    __slots__ = ("done", "entries", "failed", "missing", "results")

    def __init__(self, items: Sequence[Item], done: asyncio.Future[None]) -> None:
        self.entries = [_Entry[Item, Read, Result](item, self, i) for i, item in enumerate(items)]
        self.results: list[Result | None] = [None] * len(items)
        self.missing = len(items)
        self.done = done
        self.failed = False  # set by the thread, before its caller is told

    @property
    def gone(self) -> bool:
        """Whether its items need not be run."""
        return self.failed or self.done.done()

    def deliver(self, index: int, outcome: Result | SentimentError) -> None:
        if self.done.done():
            return
        if isinstance(outcome, SentimentError):
            self.done.set_exception(outcome)
            return
        self.results[index] = outcome
        self.missing -= 1
        if not self.missing:
            self.done.set_result(None)


class _Entry(Generic[Item, Read, Result]):
    """One item on its way."""

    __slots__ = ("group", "index", "item", "read", "size", "taken")

    read: Read
    size: int

    def __init__(self, item: Item, group: _Group[Item, Read, Result], index: int) -> None:
        self.item = item
        self.group = group
        self.index = index
        self.taken = False

    @property
    def which(self) -> str:
        """It, among its caller's items."""
        return f"text {self.index + 1}" if len(self.group.entries) > 1 else "the text"


Outcomes = list[tuple[_Entry[Item, Read, Result], Result | SentimentError]]


class Batcher(Generic[Item, Read, Result]):
    """Runs a blocking function over batches of whatever has arrived meanwhile.

    Args:
        read: makes items ready to run, in this batcher's thread: answers for each, in order, what
            `run` gets, or the error that its caller gets.
        run: the function, called in the same thread with a list of read items; answers one result
            an item, in order.
        size: a read item's size, for instance its tokens.
        weight: what an item costs to read, for instance its characters.
        most_weight: items are read together up to this much, so that a huge one delays few others.
        budget: bound on a batch's number of items times its largest size. One item may exceed it.
        round_budget: bound on the sizes of all items of a round together, as far as there are more
            than one.
        overhead: what a batch costs beyond its items' sizes, in the same unit.
        name: of the thread.
    """

    def __init__(
        self,
        read: Callable[[list[Item]], Sequence[Read | SentimentError]],
        run: Callable[[list[Read]], Sequence[Result]],
        size: Callable[[Read], int],
        *,
        weight: Callable[[Item], int],
        most_weight: float = math.inf,
        budget: int,
        round_budget: float = math.inf,
        overhead: float = 0.0,
        name: str = "batcher",
    ) -> None:
        self._read = read
        self._run = run
        self._size = size
        self._weight = weight
        self._most_weight = most_weight
        self._budget = budget
        self._round_budget = round_budget
        self._overhead = overhead
        self._name = name
        # Of the event loop:
        self._groups: set[_Group[Item, Read, Result]] = set()
        self._thread: Thread | None = None
        self._ended: asyncio.Future[None] | None = None
        # Between the event loop and the thread; None ends it:
        self._arrived: SimpleQueue[_Group[Item, Read, Result] | None] = SimpleQueue()
        # Of the thread:
        self._unread: deque[_Entry[Item, Read, Result]] = deque()
        self._ready: deque[_Entry[Item, Read, Result]] = deque()
        self._closing = False

    @property
    def waiting(self) -> int:
        """Items that wait for a batch."""
        return sum(not entry.taken for group in self._groups for entry in group.entries)

    async def submit(self, items: Sequence[Item]) -> list[Result]:
        """The results of `items`, in order. Cancelling the call drops what has not run yet,
        and so does the failure of one of them.

        Raises:
            InferenceError: a function failed on one of them, alone.
            SentimentError: as `read` answered for one of them.
        """
        if not items:
            return []
        loop = asyncio.get_running_loop()
        group = _Group[Item, Read, Result](items, loop.create_future())
        if self._thread is None:
            self._start(loop)
        self._groups.add(group)
        self._arrived.put(group)
        try:
            await group.done
        finally:
            self._groups.discard(group)
        return group.results  # type: ignore[return-value]  # none is missing

    async def close(self) -> None:
        """Finish what waits, then end the thread; a later `submit` begins a new one."""
        if self._ended is not None:
            self._arrived.put(None)
            await asyncio.shield(self._ended)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._ended = loop.create_future()
        self._thread = Thread(target=self._work, args=(loop,), name=self._name, daemon=True)
        self._thread.start()

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._ended is not None:
            self._ended.set_result(None)
        self._ended = self._thread = None
        if not self._arrived.empty():
            self._start(loop)

    def _deliver(self, outcomes: "Outcomes[Item, Read, Result]") -> None:
        for entry, outcome in outcomes:
            entry.group.deliver(entry.index, outcome)

    # In the thread

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._closing or self._unread or self._ready:
            outcomes = self._take_in()
            for batch in self._cut(self._next_round()):
                outcomes += self._run_batch(batch)
            if outcomes:
                loop.call_soon_threadsafe(self._deliver, outcomes)
        self._closing = False
        loop.call_soon_threadsafe(self._end, loop)

    def _take_in(self) -> "Outcomes[Item, Read, Result]":
        """Read what has arrived, up to a bound; wait for it when there is nothing else to do."""
        while not self._arrived.empty() or not (self._closing or self._unread or self._ready):
            group = self._arrived.get()
            if group is None:
                self._closing = True
            else:
                self._unread.extend(group.entries)
        failed: Outcomes[Item, Read, Result] = []
        entries = _taken(self._unread, lambda entry: self._weight(entry.item), self._most_weight)
        all_read = _retried_one_by_one(self._read, entries, [entry.item for entry in entries])
        for entry, read in zip(entries, all_read, strict=True):
            if isinstance(read, SentimentError):
                entry.taken = entry.group.failed = True
                failed.append((entry, read))
            else:
                entry.read, entry.size = read, self._size(read)
                self._ready.append(entry)
        return failed

    def _next_round(self) -> "list[_Entry[Item, Read, Result]]":
        return _taken(self._ready, lambda entry: entry.size, self._round_budget)

    def _cut(
        self, entries: "list[_Entry[Item, Read, Result]]"
    ) -> "Iterator[list[_Entry[Item, Read, Result]]]":
        """Batches of nearly one size, the longest first."""
        ordered = sorted(entries, key=lambda entry: entry.size, reverse=True)
        for first, end in cuts([entry.size for entry in ordered], self._budget, self._overhead):
            yield ordered[first:end]

    def _run_batch(
        self, batch: "list[_Entry[Item, Read, Result]]"
    ) -> "Outcomes[Item, Read, Result]":
        for entry in batch:
            entry.taken = True
        wanted = [entry for entry in batch if not entry.group.gone]
        results = _retried_one_by_one(self._run, wanted, [entry.read for entry in wanted])
        for entry, result in zip(wanted, results, strict=True):
            entry.group.failed |= isinstance(result, SentimentError)
        return list(zip(wanted, results, strict=True))


def _taken(
    waiting: "deque[_Entry[Item, Read, Result]]",
    size: "Callable[[_Entry[Item, Read, Result]], int]",
    most: float,
) -> "list[_Entry[Item, Read, Result]]":
    """The oldest that still wait, taken off, as many as have no more than `most` together; one may
    have more."""
    taken: list[_Entry[Item, Read, Result]] = []
    total = 0
    while waiting:
        entry = waiting[0]
        if not entry.group.gone:
            total += size(entry)
            if taken and total > most:
                break
            taken.append(entry)
        else:
            entry.taken = True
        waiting.popleft()
    return taken


def cuts(sizes: Sequence[int], budget: int, overhead: float) -> list[tuple[int, int]]:
    """Where to cut sorted items into batches so that all together cost least.

    A batch costs its number of items times its largest size, plus `overhead`. Found by dynamic
    programming over the end of the last batch, as in TurboTransformers (Fang et al., PPoPP 2021,
    https://arxiv.org/abs/2010.05680, algorithm 3).

    Args:
        sizes: of the items, the largest first.
        budget: bound on a batch's number of items times its largest size; one item may exceed it.
        overhead: in the unit of the sizes.

    Returns:
        First and end of each batch.
    """
    least, begins = [0.0], [0]
    for end in range(1, len(sizes) + 1):
        cost, begin = math.inf, end - 1
        for first in range(end - 1, -1, -1):
            size = sizes[first]
            if end - first > 1 and (
                (end - first) * size > budget
                or size - sizes[end - 1] > overhead  # the last one alone would be cheaper
            ):
                break
            if (here := least[first] + (end - first) * size + overhead) <= cost:
                cost, begin = here, first
        least.append(cost)
        begins.append(begin)
    found = []
    end = len(sizes)
    while end:
        found.append((begins[end], end))
        end = begins[end]
    return found[::-1]


Given = TypeVar("Given")
Made = TypeVar("Made")


def _retried_one_by_one(
    work: Callable[[list[Given]], Sequence[Made]],
    entries: "Sequence[_Entry[Item, Read, Result]]",
    given: list[Given],
) -> Sequence[Made | SentimentError]:
    """What `work` makes of all that is given, or, when it fails, of each alone.

    Args:
        entries: of which it is given: who has gone meanwhile is left out of a retry.
    """
    try:
        return _checked(work, given)
    except Exception as error:
        if len(given) == 1:
            return [_failure(error, entries[0].which)]
    made: list[Made | SentimentError] = []
    for entry, one in zip(entries, given, strict=True):
        try:
            if entry.group.gone:
                made.append(InferenceError("Nobody waits for it."))
            else:
                made += _checked(work, [one])
        except Exception as error:
            made.append(_failure(error, entry.which))
    return made


def _checked(work: Callable[[list[Given]], Sequence[Made]], given: list[Given]) -> Sequence[Made]:
    made = work(given) if given else []
    if len(made) != len(given):
        raise ValueError(f"{len(made)} results for {len(given)} items")
    return made


def _failure(cause: Exception, which: str) -> InferenceError:
    logger.error("A batch of one failed: %s", whereabouts(cause))
    failure = InferenceError(f"The model failed on {which}; the log says why.")
    failure.__cause__ = cause
    return failure
