"""An event loop in a thread of its own: the main thread does the faults, which block."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

Result = TypeVar("Result")


class Background:
    """The loop of the relay and of the clients, from the start of a `with` block to its end, which
    cancels what still runs in it."""

    def __init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="background")
        self._running = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self._running.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine there and wait for its end."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def call(self, function: Callable[[], Result]) -> Result:
        """Call a function there and wait for its end."""

        async def call() -> Result:
            return function()

        return self.run(call())

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._until_ended())

    async def _until_ended(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._running.set()
        await self._ended.wait()
