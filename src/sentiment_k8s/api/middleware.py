"""Around every request: its id, its error shape, its count and time, its log line."""

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable, Iterable

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import MethodNotAllowed, NotFound, NotReady, RequestError, SentimentError
from ..logs import whereabouts
from ..metrics import Metrics
from .http import error_response

logger = logging.getLogger("sentiment_k8s.access")

SANE_ID = re.compile(rb"[\w.:-]{1,128}", re.ASCII)
CLIENT_GONE = 499  # never sent: nobody is there to read it


class RequestMiddleware:
    """Gives a request its id, answers errors, counts and logs. Never logs a text or a query.

    Args:
        app: what answers.
        metrics: where to count.
        access_log: `errors`, `all` or `off`.
        recorded: whether answers are recorded; where they are not, every answer's header says so.
        stopping: whether the server is about to stop; answers then ask the client to connect
            anew, since a request sent on an open connection just when it closes is lost.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        access_log: str,
        recorded: bool,
        stopping: Callable[[], bool],
    ) -> None:
        self._app = app
        self._journal = Journal(metrics, access_log)
        self._headers = [] if recorded else [(b"x-sentiment-recorded", b"off")]
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope["request_id"] = request_id_of(scope["headers"])
        headers = [*self._headers, (b"x-request-id", request_id.encode())]
        started = time.perf_counter()
        status = CLIENT_GONE

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # What a handler wants to say beside its answer, whatever the protocol is.
                more = scope.get("answer_headers", ())
                message["headers"] = [*message["headers"], *headers, *more]
                if self._stopping():
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            pass
        except asyncio.CancelledError:  # by uvicorn, when the time for a shutdown is over
            if status == CLIENT_GONE:
                await stopping_response()(scope, receive, send_with_id)
        except Exception as error:
            logger.error("%s", whereabouts(error), extra={"request_id": request_id})
            if status == CLIENT_GONE:
                await fault_response()(scope, receive, send_with_id)
        route = getattr(scope.get("route"), "path", "other")
        self._journal.note(
            scope["method"], route, status, time.perf_counter() - started, request_id
        )


class Journal:
    """Counts, times and logs what was answered.

    Args:
        metrics: where to count.
        access_log: `errors`, `all` or `off`.
    """

    def __init__(self, metrics: Metrics, access_log: str) -> None:
        self._metrics = metrics
        self._access_log = access_log

    def note(self, method: str, route: str, status: int, seconds: float, request_id: str) -> None:
        """Take an answer down."""
        self._metrics.answered(route, status, seconds)
        if self._access_log == "all" or (self._access_log == "errors" and status >= 400):
            logger.info(
                "%s %s %d",
                method,
                route,
                status,
                extra={"request_id": request_id, "seconds": round(seconds, 6)},
            )


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The caller's id of a request, if it is sane, or a new one.

    Args:
        headers: of the request, their names in lower case.
    """
    for name, value in headers:
        if name == b"x-request-id" and SANE_ID.fullmatch(value):
            return str(value, "ascii")
    return new_request_id()


def new_request_id() -> str:
    """An id for a request that brought none."""
    return os.urandom(16).hex()


def fault_response() -> Response:
    """What a caller is told of a bug of ours."""
    return error_response(
        SentimentError("The server has a fault; its log knows more, by the X-Request-ID.")
    )


def stopping_response() -> Response:
    """What a caller is told whose request the shutdown cut."""
    return error_response(
        NotReady("The server stopped before this was answered: send it again.", retry_after=1)
    )


def methods_of(request: Request) -> str:
    """The methods that there are for the path of a request, as the API document has them: a path
    may have more than one route, and the framework names the methods of the first."""
    path = getattr(request.scope.get("route"), "path_format", "")
    methods = request.app.openapi()["paths"].get(path, ["GET"])
    return ", ".join(sorted(map(str.upper, methods)))


def add_error_handlers(app: FastAPI) -> None:
    """Answer our errors, and the framework's, in the one shape."""

    async def ours(_: Request, error: Exception) -> Response:
        assert isinstance(error, SentimentError)  # noqa: S101  # as registered
        return error_response(error)

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101  # as registered
        match error.status_code:
            case 404:
                return error_response(NotFound("There is no such route: see /docs."))
            case 405:
                response = error_response(
                    MethodNotAllowed(f"{request.method} is not for this route: see /docs.")
                )
                response.headers["Allow"] = methods_of(request)
                return response
            case _:
                return error_response(RequestError(str(error.detail)))

    async def fault(_: Request, __: Exception) -> Response:
        return fault_response()  # the framework raises it again, and RequestMiddleware logs it

    app.add_exception_handler(Exception, fault)
    app.add_exception_handler(SentimentError, ours)
    app.add_exception_handler(HTTPException, framework)
