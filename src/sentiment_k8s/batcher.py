"""Batching without a timer: while some batches run in threads, the next ones gather.

A thread goes in rounds. It reads what has arrived (tokenises it), takes the oldest items, cuts
them into batches (of nearly one size, where a batch costs what its largest item does), runs these,
hands over all results at once, and begins again without waiting for the event loop. So nobody
starves, and the event loop is woken once a round: on few cores it and the model take turns at the
caches, and each turn is paid for anew (docs/decisions/0013-rounds.md). Threads share what waits,
each on its own core (docs/decisions/0014-a-thread-a-core.md). A batch that fails is retried item by
item, so that a poison text hurts only itself. An item whose waiter has gone (deadline, hung-up
client) is not computed.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from threading import Lock, Thread
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
        return f"text {self.index + 1}" if len(self.group.results) > 1 else "the text"


class _NotRun:
    """In a result's place where nobody waits for the item: its caller has gone, or gets the error
    of another item."""


Failure = SentimentError | _NotRun
Outcomes = list[tuple[_Entry[Item, Read, Result], Result | Failure]]


class Batcher(Generic[Item, Read, Result]):
    """Runs a blocking function over batches of whatever has arrived meanwhile.

    Args:
        read: makes items ready to run, in a thread of this batcher's: answers for each, in order,
            what `run` gets, or the error that its caller gets.
        run: the function, called in such a thread with a list of read items; answers one result an
            item, in order.
        size: a read item's size, for instance its tokens.
        weight: what an item costs to read, for instance its characters.
        most_weight: items are read together up to this much, so that a huge one delays few others.
        budget: bound on a batch's number of items times its largest size, or, if it is not padded,
            on its sizes together. One item may exceed it.
        round_budget: bound on the sizes of all items of a round together, as far as there are more
            than one.
        overhead: what a padded batch costs beyond its items' sizes, in the same unit.
        padded: whether an item costs as much as the largest of its batch.
        threads: that read and run side by side.
        name: of the threads.
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
        padded: bool = True,
        threads: int = 1,
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
        self._padded = padded
        self._threads = threads
        self._name = name
        # Of the event loop:
        self._groups: set[_Group[Item, Read, Result]] = set()
        self._running = 0  # threads
        self._ended: asyncio.Future[None] | None = None
        # Between the event loop and the threads; None ends these, no entries only wake one:
        self._arrived: SimpleQueue[list[_Entry[Item, Read, Result]] | None] = SimpleQueue()
        # Of the threads, under the lock:
        self._lock = Lock()
        self._unread: deque[_Entry[Item, Read, Result]] = deque()
        self._ready: deque[_Entry[Item, Read, Result]] = deque()
        self._idle = 0  # threads, without those that have been woken
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
        if not self._running:
            self._start(loop)
        self._groups.add(group)
        self._arrived.put(group.entries)
        try:
            await group.done
        finally:
            self._groups.discard(group)
            group.entries = []  # they refer to the group, and a circle is left to the collector
        return group.results  # type: ignore[return-value]  # none is missing

    async def close(self) -> None:
        """Finish what waits, then end the threads; a later `submit` begins new ones."""
        if self._ended is not None:
            self._arrived.put(None)
            await asyncio.shield(self._ended)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._closing = False
        self._ended = loop.create_future()
        self._running = self._threads
        for _ in range(self._threads):
            Thread(target=self._work, args=(loop,), name=self._name, daemon=True).start()

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        """A thread has ended."""
        self._running -= 1
        if self._running:
            return
        if self._ended is not None:
            self._ended.set_result(None)
        self._ended = None
        if any(not group.done.done() for group in self._groups):  # too late for the last thread
            self._start(loop)

    def _deliver(self, outcomes: "Outcomes[Item, Read, Result]") -> None:
        for entry, outcome in outcomes:
            if not isinstance(outcome, _NotRun):
                entry.group.deliver(entry.index, outcome)

    # In the threads

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._take_in():
            entries, outcomes = self._next_round()
            for batch in self._cut(entries):
                outcomes += self._run_batch(batch)
            if outcomes:
                loop.call_soon_threadsafe(self._deliver, outcomes)
        with self._lock:
            self._wake_another()
        loop.call_soon_threadsafe(self._end, loop)

    def _take_in(self) -> bool:
        """Take in what has arrived; wait for it when there is nothing else to do. False: that is
        the end."""
        with self._lock:
            self._drain()
            if self._unread or self._ready or self._closing:
                return bool(self._unread or self._ready)
            self._idle += 1
        arrived = self._arrived.get()
        with self._lock:
            self._idle -= 1
            self._take(arrived)
            self._drain()
        return True

    def _drain(self) -> None:
        while True:
            try:
                self._take(self._arrived.get_nowait())
            except Empty:
                return

    def _take(self, arrived: "list[_Entry[Item, Read, Result]] | None") -> None:
        if arrived is None:
            self._closing = True
        elif arrived:
            self._unread.extend(arrived)
        else:
            self._idle += 1  # who woke had taken one off

    def _wake_another(self) -> None:
        if self._idle:
            self._idle -= 1
            self._arrived.put([])

    def _next_round(
        self,
    ) -> "tuple[list[_Entry[Item, Read, Result]], Outcomes[Item, Read, Result]]":
        """What to run, of what has been read; and what cannot be read.

        Reading is done of a share of what is unread, and what this thread has read is there for the
        others only when it has taken its own share.
        """
        with self._lock:
            entries = self._share(
                self._unread, lambda entry: self._weight(entry.item), self._most_weight
            )
        failed: Outcomes[Item, Read, Result] = []
        all_read = _retried_one_by_one(self._read, entries, [entry.item for entry in entries])
        for entry, read in zip(entries, all_read, strict=True):
            if isinstance(read, Failure):
                entry.taken = entry.group.failed = True
                failed.append((entry, read))
            else:
                entry.read, entry.size = read, self._size(read)
        with self._lock:
            self._ready.extend(entry for entry in entries if not entry.taken)
            return self._share(self._ready, lambda entry: entry.size, self._round_budget), failed

    def _share(
        self,
        waiting: "deque[_Entry[Item, Read, Result]]",
        size: "Callable[[_Entry[Item, Read, Result]], int]",
        most: float,
    ) -> "list[_Entry[Item, Read, Result]]":
        """The oldest that wait, taken off: no more than `most` of them together, and no more than
        leaves as much for each thread that has nothing to do, one of which is woken for it."""
        if self._idle:
            most = min(most, math.ceil(sum(map(size, waiting)) / (1 + self._idle)))
        taken = _taken(waiting, size, most)
        if waiting:
            self._wake_another()
        return taken

    def _cut(
        self, entries: "list[_Entry[Item, Read, Result]]"
    ) -> "Iterator[list[_Entry[Item, Read, Result]]]":
        """Batches: of nearly one size, the longest first, or, without padding, as they came."""
        if self._padded:
            entries = sorted(entries, key=lambda entry: entry.size, reverse=True)
            found = cuts([entry.size for entry in entries], self._budget, self._overhead)
        else:
            found = runs([entry.size for entry in entries], self._budget)
        for first, end in found:
            yield entries[first:end]

    def _run_batch(
        self, batch: "list[_Entry[Item, Read, Result]]"
    ) -> "Outcomes[Item, Read, Result]":
        for entry in batch:
            entry.taken = True
        wanted = [entry for entry in batch if not entry.group.gone]
        results = _retried_one_by_one(self._run, wanted, [entry.read for entry in wanted])
        for entry, result in zip(wanted, results, strict=True):
            if isinstance(result, Failure):
                entry.group.failed = True
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


def runs(sizes: Sequence[int], budget: int) -> list[tuple[int, int]]:
    """First and end of each batch, of items in their order: as many as have no more than `budget`
    together, or one."""
    found = []
    first = total = 0
    for end, size in enumerate(sizes):
        if end > first and total + size > budget:
            found.append((first, end))
            first, total = end, 0
        total += size
    return [*found, (first, len(sizes))] if sizes else []


Given = TypeVar("Given")
Made = TypeVar("Made")


def _retried_one_by_one(
    work: Callable[[list[Given]], Sequence[Made]],
    entries: "Sequence[_Entry[Item, Read, Result]]",
    given: list[Given],
) -> Sequence[Made | Failure]:
    """What `work` makes of all that is given, or, when it fails, of each alone.

    Args:
        entries: of which it is given: who has gone meanwhile is left out of a retry.
    """
    try:
        return _checked(work, given)
    except Exception as error:
        if len(given) == 1:
            return [_failure(error, entries[0].which)]
    made: list[Made | Failure] = []
    for entry, one in zip(entries, given, strict=True):
        try:
            if entry.group.gone:
                made.append(_NotRun())
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
