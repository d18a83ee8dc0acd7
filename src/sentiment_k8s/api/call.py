"""A request whose body has been read, however it came."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from starlette.requests import Request
from starlette.responses import Response

from .http import BodyReader, cancelled_when_client_hangs_up

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(slots=True)
class Call:
    """All that a handler which classifies needs of a request.

    `headers` have their names in lower case; `path` is decoded, `query` is not. What a handler
    wants to say beside its answer, whatever the protocol is, goes to `answer_headers`.
    """

    method: str
    path: str
    query: bytes
    headers: Headers
    body: bytes
    request_id: str
    answer_headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    @classmethod
    def of(cls, request: Request, body: bytes = b"") -> Self:
        """The call of an ASGI request."""
        scope = request.scope
        return cls(
            scope["method"],
            scope["path"],
            scope["query_string"],
            scope["headers"],
            body,
            scope["request_id"],
            scope.setdefault("answer_headers", []),
        )

    def values(self, name: bytes) -> list[str]:
        """Of all headers of that name."""
        return [value.decode("latin-1") for own, value in self.headers if own == name]


Handler = Callable[[Call], Awaitable[Response]]


def over_asgi(
    handler: Handler, bodies: BodyReader | None = None
) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """A handler as a route's endpoint; it is cancelled when the client hangs up.

    Args:
        handler: what answers.
        bodies: reads the body; without it there is none.
    """

    async def without_body(request: Request) -> Response:
        with cancelled_when_client_hangs_up(request):
            return await handler(Call.of(request))

    async def with_body(request: Request) -> Response:
        assert bodies is not None  # noqa: S101  # chosen below
        async with bodies.reading(request) as body:
            with cancelled_when_client_hangs_up(request):
                return await handler(Call.of(request, body))

    return without_body if bodies is None else with_body
