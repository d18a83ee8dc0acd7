"""A TCP relay that does to connections what networks do to them."""

import asyncio
from dataclasses import dataclass, field
from functools import partial

from .ports import quiet_port

CHUNK = 65_536


@dataclass
class Way:
    """One direction through the relay.

    Attributes:
        flows: not set while the direction is stalled; what was sent meanwhile arrives afterwards.
        delay: seconds that each piece takes.
        cut_every: bytes after which all connections are cut, wherever in a message that is.
    """

    flows: asyncio.Event = field(default_factory=asyncio.Event)
    delay: float = 0.0
    cut_every: int | None = None
    carried: int = 0

    def stall(self) -> None:
        """Hold everything back."""
        self.flows.clear()

    def reset(self) -> None:
        """Let everything through, at once."""
        self.delay, self.cut_every, self.carried = 0.0, None, 0
        self.flows.set()


class Relay:
    """Listens on a port of its own, once `restore` has been called, and forwards to another.

    Args:
        port: to forward to, on this machine.

    Attributes:
        port: that it listens on.
        there: the way to the other end.
        back: the way of its answers.
    """

    def __init__(self, port: int) -> None:
        self.port = quiet_port()
        self.there = Way()
        self.back = Way()
        self._to = port
        self._listening: asyncio.Server | None = None
        self._forwarding: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    async def close(self) -> None:
        """Cut all connections, and stop."""
        await self.refuse()
        for task in self._forwarding:
            task.cancel()
        await asyncio.gather(*self._forwarding, return_exceptions=True)

    async def restore(self) -> None:
        """Listen, and forward everything at once."""
        self.there.reset()
        self.back.reset()
        if self._listening is None:
            self._listening = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def refuse(self) -> None:
        """Cut all connections and take no new ones."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        self.cut()

    def cut(self) -> None:
        """Break all connections; new ones can be made."""
        for writers in self._forwarding.values():
            for writer in writers:
                writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        task = asyncio.create_task(self._forward(reader, writers), name="relay")
        self._forwarding[task] = writers
        task.add_done_callback(partial(self._forwarding.pop))

    async def _forward(
        self, reader: asyncio.StreamReader, writers: list[asyncio.StreamWriter]
    ) -> None:
        copies: list[asyncio.Task[None]] = []
        try:
            answers, requests = await asyncio.open_connection("127.0.0.1", self._to)
            writers.append(requests)
            copies = [
                asyncio.create_task(self._copy(self.there, reader, requests)),
                asyncio.create_task(self._copy(self.back, answers, writers[0])),
            ]
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        except OSError:  # nobody listens there
            pass
        finally:
            for copy in copies:
                copy.cancel()
            await asyncio.gather(*copies, return_exceptions=True)
            for writer in writers:
                writer.close()

    async def _copy(
        self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(CHUNK):
            await asyncio.sleep(way.delay)
            await way.flows.wait()
            passed = len(data)
            if way.cut_every is not None:
                passed = min(passed, way.cut_every - way.carried)
                way.carried += passed
            writer.write(data[:passed])
            await writer.drain()
            if way.carried == way.cut_every:
                way.carried = 0
                await asyncio.sleep(0)  # the last piece goes out first
                self.cut()
