"""Group commit: while one transaction is under way, what the next one will have gathers."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

Entry = TypeVar("Entry")
Result = TypeVar("Result")

MOST_ROWS_IN_A_COMMIT = 1024
MOST_CHARACTERS_IN_A_COMMIT = 4 * 1024 * 1024  # of text: huge rows must not delay each other


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter(Generic[Entry, Result]):
    entry: Entry
    done: asyncio.Future[Result]


class GroupCommit(ABC, Generic[Entry, Result]):
    """Brings entries to the database together, and lets each waiter go on with its own outcome.

    Args:
        name: of the task, for debuggers.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._waiting: list[_Waiter[Entry, Result]] = []
        self._writer: asyncio.Task[None] | None = None

    @abstractmethod
    async def commit(self, group: Sequence[Entry]) -> Sequence[Result | Exception]:
        """Do all of a group in one transaction.

        Returns:
            What came of each entry.

        Raises:
            Exception: nothing is known to be done.
        """

    @abstractmethod
    def size(self, entry: Entry) -> tuple[int, int]:
        """Rows and characters of text that an entry stands for."""

    async def submit(self, entry: Entry) -> Result:
        """What came of an entry.

        Raises:
            Exception: as `commit` answered or raised for it.
        """
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(entry, done)
        self._waiting.append(waiter)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all(), name=self._name)
        try:
            return await done
        except asyncio.CancelledError:  # nothing is kept of it, however long a commit hangs
            with suppress(ValueError):
                self._waiting.remove(waiter)
            raise

    async def close(self) -> None:
        """Wait until everything that was handed in has its outcome."""
        while self._writer is not None:
            await asyncio.shield(self._writer)

    async def _write_all(self) -> None:
        try:
            while group := self._take():
                await self._write(group)
        finally:
            self._writer = None

    def _take(self) -> list[_Waiter[Entry, Result]]:
        # Whoever has gone (deadline, hung-up client) was given no answer, so needs no row.
        self._waiting = [waiter for waiter in self._waiting if not waiter.done.done()]
        rows = characters = taken = 0
        for waiter in self._waiting:
            more_rows, more_characters = self.size(waiter.entry)
            rows += more_rows
            characters += more_characters
            full = rows > MOST_ROWS_IN_A_COMMIT or characters > MOST_CHARACTERS_IN_A_COMMIT
            if taken and full:
                break
            taken += 1
        group, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return group

    async def _write(self, group: list[_Waiter[Entry, Result]]) -> None:
        outcomes: Sequence[Result | Exception]
        try:
            outcomes = await self.commit([waiter.entry for waiter in group])
        except Exception as error:
            outcomes = [error] * len(group)
        for waiter, outcome in zip(group, outcomes, strict=True):
            if waiter.done.done():  # it has gone meanwhile
                continue
            if isinstance(outcome, Exception):
                waiter.done.set_exception(outcome)
            else:
                waiter.done.set_result(outcome)
