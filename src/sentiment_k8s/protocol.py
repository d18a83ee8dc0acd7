"""HTTP/1.1 as we speak it: uvicorn's protocol, where every wait for a client ends."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .api.early_refusal import EarlyRefusal
from .api.http import error_response
from .api.middleware import logger as access_logger
from .api.middleware import new_request_id
from .errors import RequestError, SentimentError, TooLarge
from .settings import Settings

MOST_HEAD_BYTES = 64 * 1024


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


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 by httptools, where every wait for a client ends, and a head has a largest size.

    uvicorn itself waits for ever for the rest of a head and for a client that does not read.

    Args:
        settings: the bounds.
        refusal: says what to refuse by its head.
        uvicorns: its own arguments.
    """

    def __init__(self, *, settings: Settings, refusal: EarlyRefusal, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._settings = settings
        self._refusal = refusal
        self._refusing_since: float | None = None  # while the body of a refused request is read
        self._refused = False  # since bytes came last
        self._head_bytes = 0
        seconds = settings.body_timeout_seconds
        # From the first byte of a head to its last.
        self._head = Timer(self.loop, seconds, self.timeout_keep_alive_handler)
        # Between requests, for bytes that begin none: the body of a request that was answered
        # without it, or empty lines. They end uvicorn's keep-alive timer.
        self._stray = Timer(self.loop, seconds, self.timeout_keep_alive_handler)
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
        for timer in (self._head, self._stray, self._unread):
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
            self._refuse(
                RequestError("This is no HTTP request that can be read: check the client.")
            )
            return
        if self._head.running:  # all of it was head
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
        if not self._head.running:  # a further request on this connection
            self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise HttpParserError
            return  # it comes again, see _parse
        self._head.stop()
        if self._is_to_be_refused():
            self._refusing_since = time.perf_counter()
            self._stray.start()  # for its body
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._refusing_since is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._refusing_since is not None:
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
            self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))
            return data[stop.args[0] :]
        return data[:0]

    def _is_idle(self) -> bool:
        """Whether no request is under way on this connection."""
        return self.cycle is None or self.cycle.response_complete

    def _is_to_be_refused(self) -> bool:
        return (
            self._refusal.due(self.parser.get_method(), self.url, self.headers)
            and self._is_idle()
            and not self.flow.write_paused
            and self.parser.get_http_version() == "1.1"
            and bool(self.parser.should_keep_alive())
        )

    def _refuse_early(self, since: float) -> None:
        self._refusing_since = None
        self._refused = True
        self._stray.stop()
        method = self.parser.get_method()
        self.transport.write(self._refusal.answer(method, self.url, self.headers, since))
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._head.start()

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
