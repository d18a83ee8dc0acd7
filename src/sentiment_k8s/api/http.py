"""What every route shares: bounded reading, strict parameters, JSON answers, one error shape."""

import asyncio
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import parse_qsl

from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ..errors import BodyTimeout, Overloaded, RequestError, SentimentError, TooLarge
from ..schemas import ErrorBody

BODIES_IN_MEMORY = 32  # of the largest size allowed, over all connections
LOOK_FOR_HANG_UP_AFTER_SECONDS = 0.25  # cheaper than looking from the start; long waits matter


class LeanRoute(APIRoute):
    """A route whose handler reads the request itself and answers a `Response`.

    FastAPI documents it as any other; its dependency solver and serialiser, a fifth of a
    millisecond a request, are not run.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.endpoint


class BodyReader:
    """Holds request bodies, bounded in size, in time, and over all connections together.

    Args:
        most_bytes: of one body.
        seconds: for a body to arrive.
    """

    def __init__(self, most_bytes: int, seconds: float) -> None:
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._held = 0

    @asynccontextmanager
    async def reading(self, request: Request) -> AsyncIterator[bytes]:
        """The whole body; it counts as held until the block is left.

        Raises:
            TooLarge, BodyTimeout, Overloaded: it is not read to its end.
        """
        declared = request.headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > self._most_bytes:
            raise self._too_large()
        chunks = bytearray()
        try:
            await self._read(request, chunks)
            yield bytes(chunks)
        finally:
            self.release(len(chunks))

    @contextmanager
    def decompressed(self, body: bytes, encoding: str) -> Iterator[bytes]:
        """A body without its Content-Encoding; it too counts as held until the block is left.

        Args:
            body: as it came.
            encoding: the header's value.

        Raises:
            RequestError: it is not in that encoding, or the encoding is not supported.
            TooLarge, Overloaded: as of a body that came without.
        """
        if encoding == "identity":
            yield body
            return
        plain = self._inflated(body, encoding)
        try:
            self.hold(len(plain))
            yield plain
        finally:
            self.release(len(plain))

    def _inflated(self, body: bytes, encoding: str) -> bytes:
        if encoding not in ("gzip", "deflate"):
            raise RequestError("The Content-Encoding is not supported: send gzip, deflate or none.")
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)  # either, told by its first bytes
        try:
            plain = inflater.decompress(body, self._most_bytes + 1)
        except zlib.error:
            raise RequestError(f"The body is not in {encoding}: check its encoding.") from None
        if len(plain) > self._most_bytes:
            raise self._too_large()
        if not inflater.eof or inflater.unused_data:
            raise RequestError(f"The {encoding} body does not end where the request does.")
        return plain

    def hold(self, size: int) -> None:
        """Count what came otherwise; it is to be released, whether this raises or not.

        Raises:
            Overloaded: it is too much together.
        """
        self._held += size
        if self._held > BODIES_IN_MEMORY * self._most_bytes:
            raise Overloaded("Too many bodies are being received: retry later.", retry_after=1)

    def release(self, size: int) -> None:
        """Count it no more."""
        self._held -= size

    async def _read(self, request: Request, chunks: bytearray) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                async for chunk in request.stream():
                    chunks += chunk
                    self.hold(len(chunk))
                    if len(chunks) > self._most_bytes:
                        raise self._too_large()
        except TimeoutError:
            raise BodyTimeout(
                f"The body did not arrive within {self._seconds:g} seconds: send it faster."
            ) from None

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The body is larger than {self._most_bytes} bytes: send less at once.")


def query_parameters(query_string: bytes) -> dict[str, str]:
    """A query string, strictly read.

    Raises:
        RequestError: it is not UTF-8, or a parameter is there twice.
    """
    try:
        query = query_string.decode()
        named = parse_qsl(query, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise RequestError("The query string is not UTF-8: encode it as such.") from None
    parameters = dict(named)
    if len(parameters) != len(named):
        counts = Counter(name for name, _ in named)
        twice = next(name for name, count in counts.items() if count > 1)
        raise RequestError(f"The parameter {twice[:64]!r} is there more than once: send one.")
    return parameters


@contextmanager
def cancelled_when_client_hangs_up(request: Request) -> Iterator[None]:
    """Cancel the block when the client has gone, so that it costs nothing more.

    Raises:
        ClientDisconnect: it has gone.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  # handlers run in tasks
    watchers: list[asyncio.Task[None]] = []
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone = True
        task.cancel()

    def start() -> None:
        watchers.append(asyncio.create_task(watch(), name="hang-up watcher"))

    timer = asyncio.get_running_loop().call_later(LOOK_FOR_HANG_UP_AFTER_SECONDS, start)
    try:
        yield
    except asyncio.CancelledError:
        if not gone:
            raise
        task.uncancel()
        raise ClientDisconnect from None
    finally:
        timer.cancel()
        for watcher in watchers:
            watcher.cancel()


def json_response(content: Any, status: int = 200) -> Response:
    """A JSON answer; UUIDs and times are written as strings."""
    return Response(to_json(content), status, media_type="application/json")


def error_response(error: SentimentError) -> Response:
    """An error in the one shape that all errors have."""
    response = json_response({"error": error.message, "error_type": error.error_type}, error.status)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.status in (408, 413):  # the rest of the body is not worth reading
        response.headers["Connection"] = "close"
    return response


def documented_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route, for OpenAPI."""
    return {status: {"model": ErrorBody} for status in statuses}


def documented_query(model: type[BaseModel]) -> dict[str, Any]:
    """A query model as OpenAPI parameters."""
    schema = model.model_json_schema()
    required = schema.get("required", [])
    return {
        "parameters": [
            {"name": name, "in": "query", "required": name in required, "schema": field}
            for name, field in schema["properties"].items()
        ]
    }


def documented_path(*names: str) -> dict[str, Any]:
    """Parameters in a path as OpenAPI parameters."""
    return {
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in names
        ]
    }


def documented_body(*models: type[BaseModel]) -> dict[str, Any]:
    """Body models, of which the body has one, as an OpenAPI request body."""
    schemas = [_without_references(model.model_json_schema()) for model in models]
    schema = schemas[0] if len(schemas) == 1 else {"oneOf": schemas}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _without_references(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema that can stand anywhere in a document: references are from a document's root."""
    definitions = schema.pop("$defs", {})

    def inlined(part: Any) -> Any:
        match part:
            case {"$ref": str(reference), **rest}:
                return inlined(definitions[reference.rpartition("/")[2]] | rest)
            case dict():
                return {name: inlined(value) for name, value in part.items()}
            case list():
                return [inlined(value) for value in part]
            case _:
                return part

    whole: dict[str, Any] = inlined(schema)
    return whole
