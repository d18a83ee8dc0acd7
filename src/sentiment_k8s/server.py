"""uvicorn as we run it: bounded connections and heads, and a shutdown in order."""

import asyncio
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from httptools import HttpParserError, HttpParserUpgrade
from prometheus_client import CollectorRegistry, start_http_server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .api.http import error_response
from .api.middleware import logger as access_logger
from .api.middleware import new_request_id
from .app import create_app
from .errors import RequestError, SentimentError, SettingsError, TooLarge
from .service import Service
from .settings import Settings

logger = logging.getLogger(__name__)

MOST_HEAD_BYTES = 64 * 1024
OTHER_FILES = 256  # open files that are no connections
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


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
    """

    def __init__(self, *, settings: Settings, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._settings = settings
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
        elif (self.cycle is None or self.cycle.response_complete) and not self._stray.running:
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
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
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


class Server(uvicorn.Server):
    """Shuts down in order: unready, go on serving for a moment, stop accepting, drain, close.

    Args:
        config: uvicorn's.
        service: what becomes unready first.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        [listener] = sockets or []
        host, port = listener.getsockname()[:2]
        logger.info(
            "Ready on http://%s:%d (the page is at /, the API at /docs); answers are recorded: %s.",
            f"[{host}]" if ":" in host else host,
            port,
            self._service.record_mode,
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        delay = self._service.settings.shutdown_delay_seconds
        if sig == signal.SIGTERM and self._service.ready and delay:
            self._service.ready = False
            logger.info("Stopping in %g seconds: /health/ready says 503 from now on.", delay)
            loop = asyncio.get_running_loop()
            loop.call_soon_threadsafe(lambda: loop.call_later(delay, self._stop))
            return
        self._service.ready = False
        self._stop(force=self.should_exit and sig == signal.SIGINT)

    def _stop(self, *, force: bool = False) -> None:
        # Without uvicorn's list of captured signals, which it raises again at the end: a server
        # that was told to stop and did has succeeded.
        self.force_exit = force
        self.should_exit = True


def listen(settings: Settings) -> socket.socket:
    """A socket bound to the settings' address.

    Raises:
        SettingsError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"Cannot listen on {settings.host} port {settings.port} ({error.strerror}): "
            "stop what is there, or choose another by --port."
        ) from None
    return listener


def allow_open_files(wanted: int) -> None:
    """Raise this process's own limit on open files, as far as the system lets it: a connection is
    one, and shells often allow 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def metrics_served(settings: Settings, registry: CollectorRegistry) -> Iterator[None]:
    """Serve the metrics on their own port, if they have one.

    Raises:
        SettingsError: the port cannot be had.
    """
    if settings.metrics_port is None:
        yield
        return
    try:
        server, thread = start_http_server(settings.metrics_port, settings.host, registry=registry)
    except OSError as error:
        raise SettingsError(
            f"Cannot serve metrics on {settings.host} port {settings.metrics_port} "
            f"({error.strerror}): stop what is there, or choose another by --metrics-port."
        ) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def start(service: Service) -> None:
    """Start the service; a signal to stop that comes meanwhile ends the process in order.

    uvicorn has no hand on signals yet, and for a container's first process Linux ignores SIGTERM
    unless somebody has.

    Raises:
        StartError: it cannot start, and why; it has been closed.
    """
    loop = asyncio.get_running_loop()
    starting = asyncio.create_task(service.start())
    told: list[signal.Signals] = []

    def stop(signal_number: signal.Signals) -> None:
        told.append(signal_number)
        starting.cancel()

    for one in STOP_SIGNALS:
        loop.add_signal_handler(one, stop, one)
    try:
        await asyncio.wait([starting])
        if told or starting.cancelled() or starting.exception():
            await service.close()
        if told:
            logger.info("Stopped before it was ready.")
            # At once: Python's own end would wait for the thread that loads or downloads a model.
            os._exit(128 + told[0])
    finally:
        for one in STOP_SIGNALS:
            loop.remove_signal_handler(one)
    await starting


async def serve(settings: Settings) -> None:
    """Run the server until it is told to stop.

    Raises:
        StartError: it cannot start, and why.
    """
    chosen = settings.model_fields_set & {"deadline_seconds", "shutdown_timeout_seconds"}
    if chosen and settings.shutdown_timeout_seconds < settings.deadline_seconds:
        logger.warning(
            "SENTIMENT_SHUTDOWN_TIMEOUT_SECONDS (%g) is less than SENTIMENT_DEADLINE_SECONDS (%g): "
            "a stop cuts requests that still had time.",
            settings.shutdown_timeout_seconds,
            settings.deadline_seconds,
        )
    allow_open_files(settings.max_connections + OTHER_FILES)
    listener = listen(settings)
    service = Service(settings)
    config = uvicorn.Config(
        create_app(service),
        http=partial(Protocol, settings=settings),  # type: ignore[arg-type]
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        backlog=2048,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.shutdown_timeout_seconds,
    )
    config.load()  # now, so that uvicorn takes over right after the start
    with metrics_served(settings, service.metrics.registry):
        await start(service)
        await Server(config, service).serve(sockets=[listener])
