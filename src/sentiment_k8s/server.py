"""uvicorn as we run it: a start that can be stopped, and a shutdown in order."""

import asyncio
import gc
import logging
import os
import resource
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

import uvicorn
from prometheus_client import CollectorRegistry, start_http_server

from .api.classifier import Classifier
from .api.direct import Direct
from .app import create_app
from .errors import SettingsError
from .protocol import Protocol
from .service import Service
from .settings import Settings

logger = logging.getLogger(__name__)

BACKLOG = 2048  # connections that wait to be accepted
OTHER_FILES = 256  # open files that are no connections
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
YOUNG_OBJECTS = 20_000  # a few mebibytes of garbage at most before it is looked for


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
        if self._service.stop_by is None:
            settings = self._service.settings
            self._service.stop_by = time.monotonic() + settings.shutdown_timeout_seconds
        if force:
            asyncio.get_running_loop().call_soon_threadsafe(self._service.hurry)
        # Without uvicorn's list of captured signals, which it raises again at the end: a server
        # that was told to stop and did has succeeded.
        self.force_exit = force
        self.should_exit = True


def listen(settings: Settings) -> socket.socket:
    """A socket that listens on the settings' address.

    It listens from now on, so that nobody else can: a port that is only bound can be bound once
    more. Who connects during the start waits for the answer instead of being refused.

    Raises:
        SettingsError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
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


def collect_garbage_seldom() -> None:
    """Leave what the start has made out of every later look for garbage, and look less often.

    Requests leave hardly any cycles, but Python's defaults look for them every few requests, which
    was a fifth of the event loop's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)


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
    classifier = Classifier(service)
    config = uvicorn.Config(
        create_app(service, classifier),
        http=partial(Protocol, settings=settings, direct=Direct(service, classifier)),  # type: ignore[arg-type]
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.shutdown_timeout_seconds,
    )
    config.load()  # now, so that uvicorn takes over right after the start
    with metrics_served(settings, service.metrics.registry):
        await start(service)
        collect_garbage_seldom()
        await Server(config, service).serve(sockets=[listener])
