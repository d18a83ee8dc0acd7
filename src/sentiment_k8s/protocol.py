"""HTTP/1.1 as we speak it: uvicorn's protocol, where every wait for a client ends."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .api.call import Headers
from .api.direct import Direct, Head
from .api.http import error_response
from .api.middleware import logger as access_logger
from .api.middleware import new_request_id
from .errors import RequestError, SentimentError, TooLarge
from .settings import Settings

MOST_HEAD_BYTES = 64 * 1024
# Some clients write a head and its body apart. What takes longer goes the usual way, where bodies
# are bounded in time and over all connections.
BODY_BEHIND_HEAD_SECONDS = 0.05


def unreadable() -> RequestError:
    """What a client is told that does not speak HTTP."""
    return RequestError("This is no HTTP request that can be read: check the client.")


class Timer:
    """Calls back once after its time, unless it is stopped before.

    Args:
        seconds: from `start` to the call.
        call: without arguments.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, call: Callable[[], None]):
        self._loop = loop
        self._seconds = seconds
        self._call = call
        self._handle: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        return self._handle is not None

    def start(self) -> None:
        """Begin anew."""
        self.stop()
        self._handle = self._loop.call_later(self._seconds, self._call)

    def stop(self) -> None:
        """Do not call; does nothing when not running."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class Exchange:
    """A request that is answered directly, and its answer: to uvicorn's protocol it is a cycle.

    Args:
        direct: what answers.
        head: of the request.
        body: of the request.
        usual: the server's own headers of every answer.
        transport: where the answer goes.
        done: is called when it has been written.
    """

    more_body = False

    def __init__(
        self,
        direct: Direct,
        head: Head,
        body: bytes,
        usual: Headers,
        transport: asyncio.Transport,
        done: Callable[[], None],
    ) -> None:
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = True
        self._direct = direct
        self._request: tuple[Head, bytes, Headers] | None = (head, body, usual)
        self._transport = transport
        self._done = done
        self._task: asyncio.Task[Any] | None = None

    @property
    def message_event(self) -> "Exchange":
        """What uvicorn sets when the connection is lost."""
        return self

    def set(self) -> None:
        """The client has gone: what is done for it ends."""
        if self._task is not None:
            self._task.cancel()

    async def run(self) -> None:
        """Answer, unless the client has gone."""
        request, self._request = self._request, None  # an idle connection keeps no body
        if self.disconnected or request is None:
            return
        self._task = asyncio.current_task()
        whole = await self._direct.answer(*request, gone=lambda: self.disconnected)
        if self.disconnected:
            return
        self._transport.write(whole.content)
        self.response_complete = True
        if whole.closes or not self.keep_alive:
            self._transport.close()
        self._done()


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 by httptools, where every wait for a client ends, and a head has a largest size.

    uvicorn itself waits for ever for the rest of a head and for a client that does not read. What
    classifies, is plain and comes at once is answered directly.

    Args:
        settings: the bounds.
        direct: answers it, or refuses it by its head.
        uvicorns: its own arguments.
    """

    def __init__(self, *, settings: Settings, direct: Direct, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._settings = settings
        self._direct = direct
        self._refusing_since: float | None = None  # while the body of a refused request is read
        self._refused = False  # since bytes came last
        self._plain: bytearray | None = None  # the body of a plain request, while it comes
        self._in_head = False
        self._head_bytes = 0
        seconds = settings.body_timeout_seconds
        # From the first byte of a head to its last.
        self._head = Timer(self.loop, seconds, self.timeout_keep_alive_handler)
        # Between requests, for bytes that begin none: the body of a request that was answered
        # without it, or empty lines. They end uvicorn's keep-alive timer.
        self._stray = Timer(self.loop, seconds, self.timeout_keep_alive_handler)
        # From the head of a plain request to the end of its body.
        self._behind = Timer(self.loop, BODY_BEHIND_HEAD_SECONDS, self._go_the_usual_way)
        # While what was sent is not read.
        self._unread = Timer(self.loop, settings.keep_alive_seconds, self._give_up)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._settings.max_connections:
            transport.abort()
            return
        # Opened ahead of need, as pools and browsers do: as patient as between two requests.
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head, self._stray, self._behind, self._unread):
            timer.stop()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._refused = False
        rest = memoryview(data)
        try:
            while rest:
                rest = self._parse(rest)
        except HttpParserError:
            self._refuse(unreadable())
            return
        if self._plain is not None:
            if not self._behind.running:
                self._behind.start()
        elif self._in_head:
            if not self._head.running:
                self._head.start()
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
                self._refuse(
                    TooLarge(
                        f"The head is larger than {MOST_HEAD_BYTES} bytes: send a body by POST."
                    )
                )
        elif not (self._refused or self._stray.running) and self._is_idle():
            self._stray.start()

    def on_message_begin(self) -> None:
        self._stray.stop()
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise HttpParserError
            return  # it comes again, see _parse
        self._in_head = False
        self._head.stop()
        if not self._is_plain():
            super().on_headers_complete()
        elif self._direct.full:
            self._refusing_since = time.perf_counter()
            self._stray.start()  # for its body
        else:
            self._plain = bytearray()

    def on_body(self, body: bytes) -> None:
        if self._plain is not None:
            self._plain += body
        elif self._refusing_since is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._plain is not None:
            self._behind.stop()
            body, self._plain = bytes(self._plain), None
            self._answer(body)
        elif self._refusing_since is not None:
            self._refuse_early(self._refusing_since)
        elif not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._unread.start()
        elif self.cycle.response_complete and self.cycle.more_body:
            # An error, mostly. Closing now could reset the connection before the client, still
            # sending, has read why; what it sends is thrown away for a while instead.
            self._stray.start()

    def shutdown(self) -> None:
        self._go_the_usual_way()
        super().shutdown()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread.start()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._unread.stop()

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self._give_up()  # closing would wait until the client has read
        else:
            super().timeout_keep_alive_handler()

    def _parse(self, data: memoryview) -> memoryview:
        """Parse; what is left is not parsed yet.

        The parser stops at a head that offers another protocol (Java's client offers HTTP/2 with
        every first request) and leaves out its body. HTTP lets a server ignore the offer (RFC 9110,
        section 7.8), so the parser gets that head again without it.
        """
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as stop:
            request = (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
            lines = [b"%s %s HTTP/%s" % request]
            lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
            # A new one: where the head said close, this one takes no more.
            self.parser = HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))
            return data[stop.args[0] :]
        return data[:0]

    def _go_the_usual_way(self) -> None:
        """With a plain request that has not come as a whole."""
        if self._plain is None:
            return
        body, self._plain = bytes(self._plain), None
        self._behind.stop()
        try:
            super().on_headers_complete()
        except HttpParserError:
            self._refuse(unreadable())
            return
        if body:
            super().on_body(body)

    def _is_idle(self) -> bool:
        """Whether no request is under way on this connection."""
        return self.cycle is None or self.cycle.response_complete

    def _is_plain(self) -> bool:
        return (
            self._direct.takes(self._head_of_request())
            and self._is_idle()
            and not self.flow.write_paused
            and self.parser.get_http_version() == "1.1"
            and bool(self.parser.should_keep_alive())
        )

    def _answer(self, body: bytes) -> None:
        exchange = Exchange(
            self._direct,
            self._head_of_request(),
            body,
            self.server_state.default_headers,
            self.transport,
            self.on_response_complete,
        )
        self.cycle = exchange  # type: ignore[assignment]
        task = self.loop.create_task(exchange.run())
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _refuse_early(self, since: float) -> None:
        self._refusing_since = None
        self._refused = True
        self._stray.stop()
        whole = self._direct.refusal(
            self._head_of_request(), self.server_state.default_headers, since
        )
        self.transport.write(whole.content)
        if whole.closes:
            self.transport.close()
            self._unread.start()
            return
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _head_of_request(self) -> Head:
        return Head(self.parser.get_method(), self.url, self.headers)

    def _give_up(self) -> None:
        self.transport.abort()

    def _refuse(self, error: SentimentError) -> None:
        """Answer what never became a request, so was neither given an id nor logged."""
        request_id = new_request_id()
        if self._settings.access_log != "off":
            access_logger.info("Refused %d", error.status, extra={"request_id": request_id})
        response = error_response(error)
        response.headers["X-Request-ID"] = request_id
        head = [f"HTTP/1.1 {error.status} Refused".encode(), b"connection: close"]
        head += [name + b": " + value for name, value in response.raw_headers]
        self.transport.write(b"\r\n".join([*head, b"", bytes(response.body)]))
        self.transport.close()
        self._unread.start()
