"""A small real HTTP server whose answers a test decides, for tests of the load client."""

import asyncio
import re
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)

Answer = Callable[[int, asyncio.StreamWriter], Awaitable[None]]


def response(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """A whole response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextmanager
def answering(answer: Answer) -> Iterator[tuple[str, int]]:
    """A server on a free port, in a thread of its own.

    Args:
        answer: called with the number of each request, from 0, and where to write what it gets.

    Returns:
        Its address.
    """
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if found := LENGTH.search(head):
                    await reader.readexactly(int(found[1]))
                number, count = count, count + 1
                await answer(number, writer)
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        address.extend(server.sockets[0].getsockname())
        started.set()
        await asyncio.get_running_loop().run_in_executor(None, stop.wait)
        server.close()  # and the end of the loop cancels what still waits

    address: list[object] = []
    started, stop = threading.Event(), threading.Event()
    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert started.wait(10)
    try:
        yield str(address[0]), int(str(address[1]))
    finally:
        stop.set()
        thread.join(10)
