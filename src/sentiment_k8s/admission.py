"""Admission: a bounded number of tokens in flight, decided before any work is done."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from .errors import Overloaded

# English in WordPiece has 4 to 5; Chinese 3, which are one character and one token. The count is
# exact once a text has been through the model.
BYTES_A_TOKEN = 4
FULL = 255 / 256  # of the limit


def estimated_tokens(texts: Sequence[str], most: int) -> int:
    """About how many tokens `texts` will have, each cut at `most`."""
    return sum(min(most, 2 + _size(text) // BYTES_A_TOKEN) for text in texts)


def _size(text: str) -> int:
    """Bytes of UTF-8, without making them of plain English."""
    return len(text) if text.isascii() else len(text.encode())


class Permit:
    """The right to have some tokens in flight, until it is left as a context manager."""

    def __init__(self, admission: "Admission", tokens: int) -> None:
        self._admission = admission
        self._tokens = tokens

    def settle(self, tokens: int) -> None:
        """Replace the estimate by the exact count."""
        self._admission.in_flight += tokens - self._tokens
        self._tokens = tokens

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.settle(0)


class Admission:
    """Counts the tokens in flight.

    Args:
        limit: tokens admitted at once. One request alone is always admitted, however large:
            the limits on body and texts bound it.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_flight = 0

    def admit(self, tokens: int) -> Permit:
        """Admit a request of about `tokens` tokens.

        Raises:
            Overloaded: too much is in flight already.
        """
        if self.in_flight and self.in_flight + tokens > self.limit:
            raise self.refusal()
        self.in_flight += tokens
        return Permit(self, tokens)

    @property
    def full(self) -> bool:
        """Whether the next request, even a small one, is as good as refused."""
        return self.in_flight >= FULL * self.limit

    def refusal(self) -> Overloaded:
        """What a refused caller is told."""
        return Overloaded(
            f"{self.in_flight} tokens are in flight and {self.limit} are allowed: "
            "retry later, or send less at once.",
            retry_after=1,
        )
