"""Answers of any length: all rows of the log that pass some filters, as CSV or JSON Lines."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from ..errors import Overloaded, SentimentError
from ..log_export import CsvRows, Encoder, JsonLines, Row
from .http import cancelled_when_client_hangs_up

logger = logging.getLogger(__name__)

MOST_STREAMS = 16  # at a time: one whose client reads slowly keeps a part of the log in memory
JSON = "application/json"
ENCODERS: dict[str, type[CsvRows] | type[JsonLines]] = {
    encoder.media_type: encoder for encoder in (JsonLines, CsvRows)
}


def encoder_for(request: Request) -> Encoder | None:
    """What a request's Accept asks for; None for JSON, which is for everybody who says nothing
    else, or only what we do not have (RFC 9110, section 12.5.1, lets a server answer anyway)."""
    accepted: dict[str, float] = {}
    for part in request.headers.get("accept", "*/*").lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        weight = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
        with suppress(ValueError):
            accepted[kind] = float(weight)

    def quality(kind: str) -> float:
        whole = kind.partition("/")[0] + "/*"
        return accepted.get(kind, accepted.get(whole, accepted.get("*/*", 0)))

    encoder = ENCODERS.get(max((JSON, *ENCODERS), key=quality))
    return encoder() if encoder else None


class Streams:
    """Makes streams, a bounded number at a time."""

    def __init__(self) -> None:
        self._open = 0

    async def answer(
        self, request: Request, encoder: Encoder, parts: AsyncIterator[list[Row]]
    ) -> Response:
        """A stream of all parts. The first is fetched before there is an answer: what is wrong with
        a request shows in its status.

        Args:
            request: which asks for them.
            encoder: of the answer.
            parts: of the log.

        Raises:
            Overloaded: there are too many streams.
            SentimentError: whatever fetching the first part raises.
            ClientDisconnect: nobody waits for it any more.
        """
        if self._open >= MOST_STREAMS:
            raise Overloaded("The log is read by too many: retry later.", retry_after=5)
        self._open += 1
        try:
            with cancelled_when_client_hangs_up(request):
                first: list[Row] = await anext(parts, [])
        except BaseException:
            self._close()
            raise
        return _Streamed(encoder, first, parts, self._close)

    def _close(self) -> None:
        self._open -= 1


class _Streamed(StreamingResponse):
    def __init__(
        self,
        encoder: Encoder,
        first: list[Row],
        parts: AsyncIterator[list[Row]],
        close: Callable[[], None],
    ) -> None:
        super().__init__(_chunks(encoder, first, parts), media_type=encoder.media_type)
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._close()


async def _chunks(
    encoder: Encoder, first: list[Row], parts: AsyncIterator[list[Row]]
) -> AsyncIterator[bytes]:
    try:
        yield encoder.head() + encoder.encode(first)
        async for rows in parts:
            yield encoder.encode(rows)
    except SentimentError as error:
        # Without its last chunk the answer is broken for every client. Nobody hung up, but what
        # there is to do is the same: end without an answer.
        logger.warning("A stream of the log ends early: %s", error.message)
        raise ClientDisconnect from error
