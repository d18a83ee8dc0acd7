"""Refusing what would be refused anyway, before anything is made of it.

At three times the load that a server can take, two of three requests get a 429. Through the
framework each of them costs a tenth of what an answer costs, which the answers then lack; from its
head, where no task, body or JSON is made of it, about half of that.
"""

import asyncio
import logging
import time
from collections.abc import Sequence

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from ..service import Service
from .http import error_response
from .middleware import logger, request_id_of

Headers = Sequence[tuple[bytes, bytes]]

# By method and path, the routes that classify; GET / is the page.
ROUTES = {
    (b"POST", b"/"): "/",
    (b"POST", b"/predict"): "/predict",
    (b"GET", b"/predict"): "/predict",
}
MOST_BODY_BYTES = 64 * 1024  # what is read of a refused request; a larger one is refused unread
TELL_EVERY_SECONDS = 1.0
# What changes how a body is read, or what may be answered from the log.
UNLESS = {b"transfer-encoding", b"expect", b"idempotency-key"}


class EarlyRefusal:
    """Says which requests to refuse by their heads, and with what.

    Args:
        service: whose admission is full.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._recorded = service.record_mode != "off"
        self._logged = service.settings.access_log != "off"
        self._untold = 0

    def due(self, method: bytes, url: bytes, headers: Headers) -> bool:
        """Whether a request is to be refused once its body has been thrown away.

        Args:
            method: of the request.
            url: its path and query.
            headers: their names in lower case.
        """
        return (
            self._service.full
            and self._service.ready
            and _route(method, url) is not None
            and _is_small_and_plain(headers)
        )

    def answer(self, method: bytes, url: bytes, headers: Headers, started: float) -> bytes:
        """The whole answer, counted; refusals are logged once a second, by their number.

        Args:
            method: of the request.
            url: of the request.
            headers: of the request.
            started: when its head was complete (`time.perf_counter`).
        """
        response = error_response(self._service.pipeline.admission.refusal())
        lines = [name + b": " + value for name, value in response.raw_headers]
        lines.append(b"x-request-id: " + request_id_of(headers).encode())
        if not self._recorded:
            lines.append(b"x-sentiment-recorded: off")
        self._count()
        seconds = time.perf_counter() - started
        self._service.metrics.answered(
            _route(method, url) or "other", response.status_code, seconds
        )
        head = STATUS_LINE[response.status_code] + b"\r\n".join([*lines, b"", b""])
        return head + bytes(response.body)

    def _count(self) -> None:
        self._untold += 1
        if self._untold == 1 and self._logged and logger.isEnabledFor(logging.INFO):
            asyncio.get_running_loop().call_later(TELL_EVERY_SECONDS, self._tell)

    def _tell(self) -> None:
        logger.info("Refused %d requests: too many tokens are in flight.", self._untold)
        self._untold = 0


def _route(method: bytes, url: bytes) -> str | None:
    return ROUTES.get((method, url.partition(b"?")[0]))


def _is_small_and_plain(headers: Headers) -> bool:
    for name, value in headers:
        if name in UNLESS:
            return False
        if name == b"content-length" and not (
            value.isdigit() and len(value) < 8 and int(value) <= MOST_BODY_BYTES
        ):
            return False
    return True
