"""Plain requests that classify, answered without a framework in between.

What an ASGI server and a framework make of a request (a scope, a cycle of messages, timers for a
body that is there already, a watcher for a client that may hang up) costs more than the text does
outside the model, most of all where the model has just emptied the caches
(docs/decisions/0015-direct.md). A request with a plain head, all of which has come, needs none of
it: it goes to the same handlers. Everything else goes the usual way, and what is too much is
refused by its head.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from ..errors import SentimentError
from ..logs import whereabouts
from ..service import Service
from .call import Call, Handler, Headers
from .classifier import Classifier
from .http import error_response
from .inference import hugging_face
from .middleware import (
    CLIENT_GONE,
    Journal,
    fault_response,
    logger,
    request_id_of,
    stopping_response,
)
from .predict import Predict

MOST_BODY_BYTES = 64 * 1024
MOST_URL_BYTES = 65_535  # that the HTTP parser splits
TELL_EVERY_SECONDS = 1.0
# What changes how a body is read, or what may be answered from the log.
UNLESS = {b"transfer-encoding", b"expect", b"idempotency-key"}


class Head(NamedTuple):
    """A request's head: its URL is path and query, its headers' names are in lower case."""

    method: bytes
    url: bytes
    headers: Headers

    @property
    def route(self) -> tuple[bytes, bytes]:
        """Method and path."""
        return self.method, self.url.partition(b"?")[0]


class Whole(NamedTuple):
    """An answer as it goes over the wire, and whether the connection is closed after it."""

    content: bytes
    closes: bool


class Direct:
    """Answers, or refuses by its head, what is plain and classifies; GET / is the page.

    Args:
        service: the parts of the server.
        classifier: that the framework's routes use too.
    """

    def __init__(self, service: Service, classifier: Classifier) -> None:
        predict = Predict(classifier, service)
        self._handlers: dict[tuple[bytes, bytes], Handler] = {
            (b"POST", b"/"): hugging_face(classifier, service),
            (b"POST", b"/predict"): predict.body,
            (b"GET", b"/predict"): predict.query,
        }
        self._service = service
        self._bodies = classifier.bodies
        self._most_body_bytes = min(MOST_BODY_BYTES, service.settings.max_body_bytes)
        self._recorded = classifier.recorded
        self._journal = Journal(service.metrics, service.settings.access_log)
        self._refusals_logged = service.settings.access_log != "off"
        self._untold = 0

    @property
    def full(self) -> bool:
        """Whether a request is to be refused once its body has been thrown away."""
        return self._service.full

    def takes(self, head: Head) -> bool:
        """Whether a request is one of these."""
        return (
            head.route in self._handlers
            and b"#" not in head.url
            and len(head.url) <= MOST_URL_BYTES
            and self._service.ready
            and _is_small_and_plain(head.headers, self._most_body_bytes)
        )

    async def answer(
        self, head: Head, body: bytes, usual: Headers, gone: Callable[[], bool]
    ) -> Whole:
        """The answer, whatever happens, counted and logged.

        Args:
            head: of a request that is taken.
            body: of the request.
            usual: the server's own headers of every answer.
            gone: whether the client has hung up; who cancels this while it has not is the shutdown,
                when its time is over.
        """
        started = time.perf_counter()
        path, _, query = head.url.partition(b"?")
        request_id = request_id_of(head.headers)
        call = Call(head.method.decode(), path.decode(), query, head.headers, body, request_id)
        status = CLIENT_GONE
        try:
            try:
                self._bodies.hold(len(body))
                response = await self._handlers[head.route](call)
            except SentimentError as error:
                response = error_response(error)
            except asyncio.CancelledError:
                if gone():
                    raise
                response = stopping_response()
            except Exception as error:
                logger.error("%s", whereabouts(error), extra={"request_id": request_id})
                response = fault_response()
            status = response.status_code
            return self._whole(response, request_id, [*usual, *call.answer_headers])
        finally:
            self._bodies.release(len(body))
            seconds = time.perf_counter() - started
            self._journal.note(call.method, call.path, status, seconds, request_id)

    def refusal(self, head: Head, usual: Headers, started: float) -> Whole:
        """The refusal, counted; refusals are logged once a second, by their number.

        Args:
            head: of a request that is taken.
            usual: the server's own headers of every answer.
            started: when the head was complete (`time.perf_counter`).
        """
        response = error_response(self._service.pipeline.admission.refusal())
        whole = self._whole(response, request_id_of(head.headers), usual)
        self._count()
        route = head.route[1].decode()
        self._service.metrics.answered(route, response.status_code, time.perf_counter() - started)
        return whole

    def _whole(
        self, response: Response, request_id: str, more: Iterable[tuple[bytes, bytes]]
    ) -> Whole:
        headers = [*more, *response.raw_headers, (b"x-request-id", request_id.encode())]
        if not self._recorded:
            headers.append((b"x-sentiment-recorded", b"off"))
        if not self._service.ready:
            headers.append((b"connection", b"close"))
        lines = [STATUS_LINE[response.status_code], *(b"%s: %s\r\n" % each for each in headers)]
        content = b"".join([*lines, b"\r\n", response.body])
        return Whole(content, closes=(b"connection", b"close") in headers)

    def _count(self) -> None:
        self._untold += 1
        if self._untold == 1 and self._refusals_logged and logger.isEnabledFor(logging.INFO):
            asyncio.get_running_loop().call_later(TELL_EVERY_SECONDS, self._tell)

    def _tell(self) -> None:
        logger.info("Refused %d requests: too many tokens are in flight.", self._untold)
        self._untold = 0


def _is_small_and_plain(headers: Headers, most_body_bytes: int) -> bool:
    for name, value in headers:
        if name in UNLESS:
            return False
        if name == b"content-length" and not (
            value.isdigit() and len(value) < 8 and int(value) <= most_body_bytes
        ):
            return False
    return True
