"""Reading and writing off the event loop."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def in_daemon_thread(work: Callable[..., T], *args: object) -> T:
    """Runs `work` off the event loop, in a thread that nothing waits for at the end.

    The threads of `asyncio.to_thread` are joined, and a read of a terminal or a write to a full
    pipe has no end, so that Ctrl-C would hang.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(method: Callable[[Any], None], value: object) -> None:
        if not future.done():
            method(value)

    def target() -> None:
        with suppress(RuntimeError):  # the loop has been closed meanwhile
            try:
                result = work(*args)
            except BaseException as error:
                loop.call_soon_threadsafe(settle, future.set_exception, error)
            else:
                loop.call_soon_threadsafe(settle, future.set_result, result)

    threading.Thread(target=target, daemon=True).start()
    return await future
