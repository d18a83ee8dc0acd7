"""What every route that classifies shares, whatever its protocol."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from ..errors import TooLarge
from ..idempotency import request_key
from ..records import PredictionRow
from ..service import Service
from .call import Call
from .http import BodyReader

KEY_PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Any text of your own, new for each request: the same request sent again with "
    "it, to any server, is answered from the log (`Idempotency-Replayed: true`) and not recorded "
    "again. With another request it is a 422.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


class Classifier:
    """Texts of a request to their rows, within the limits of a request.

    Args:
        service: the parts of the server.

    Attributes:
        bodies: reads the bodies of all routes, bounded together.
        recorded: whether rows go to the log.
    """

    def __init__(self, service: Service) -> None:
        settings = service.settings
        self.bodies = BodyReader(settings.max_body_bytes, settings.body_timeout_seconds)
        self.recorded = service.record_mode != "off"
        self._service = service
        self._max_texts = settings.max_texts
        text_key = settings.text_key
        self._secret = text_key.get_secret_value().encode() if text_key else None

    def check_number(self, texts: Sequence[object]) -> None:
        """Refuse more texts than a request may have, before anything is done with them.

        Raises:
            TooLarge: there are more.
        """
        if len(texts) > self._max_texts:
            raise TooLarge(
                f"{len(texts)} texts in one request; {self._max_texts} are allowed: send parts."
            )

    async def classify(
        self,
        call: Call,
        texts: Sequence[str],
        *,
        truncate: bool = True,
        subject: str | None = None,
        logits: list[list[float]] | None = None,
    ) -> list[PredictionRow]:
        """One durable row a text, in order; those of before, when the request's Idempotency-Key has
        been answered, which the answer's headers then say.

        Args:
            call: whose answer the rows will be.
            texts: what to classify.
            truncate: cut an over-long text; otherwise it is an error.
            subject: opaque id of the person, kept for later erasure.
            logits: the texts' logits are added to it, unless the answer comes from the log.

        Raises:
            TooLarge: too many texts.
            RequestError, KeyReused: the Idempotency-Key cannot be used.
            SentimentError: as `Pipeline.classify` says.
        """
        self.check_number(texts)
        compute = partial(
            self._service.pipeline.classify,
            texts,
            truncate=truncate,
            subject=subject,
            request_id=call.request_id,
            logits=logits,
        )
        keys = call.values(b"idempotency-key")
        if not keys or self._service.keys is None:
            return await compute()
        key = request_key(keys, _described(call), self._secret)
        rows, again = await self._service.keys.once(key, lambda record: compute(record=record))
        if again:
            call.answer_headers.append((b"idempotency-replayed", b"true"))
        return rows


def with_key(extra: dict[str, Any]) -> dict[str, Any]:
    """What is documented of a route, and that it takes an Idempotency-Key."""
    return extra | {"parameters": [*extra.get("parameters", ()), KEY_PARAMETER]}


def _described(call: Call) -> bytes:
    """All that the answer depends on, but the model."""
    return f"{call.method} {call.path!r} {call.query!r} ".encode() + call.body
