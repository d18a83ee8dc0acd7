"""Traffic that nothing may harm: of clients with connections kept open, and with fresh ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from .load import Load
from .log import Log


@dataclass(frozen=True, slots=True)
class Traffic:
    """Both kinds of clients at once."""

    kept: Load
    fresh: Load

    @classmethod
    @contextmanager
    def at(cls, url: str, host: str | None = None) -> Iterator[Self]:
        """From the start of a `with` block to its end.

        Args:
            url: of the Service, or of the ingress controller.
            host: the Host header, where it is not the URL's.
        """
        with (
            Load(url, host=host) as kept,
            Load(url, host=host, connections=2, renew=1) as fresh,
        ):
            yield cls(kept, fresh)

    def more(self, requests: int) -> None:
        """Go on until so many more requests on kept connections have been answered."""
        self.kept.more(requests)

    def assert_unharmed(self, log: Log) -> dict[str, float]:
        """No request failed, and each answer is a row, once.

        Returns:
            The figures: those of the kept connections, requests on fresh ones, rows of both.
        """
        for load in (self.kept, self.fresh):
            load.assert_nothing_failed()
        rows = log.assert_keeps(self.kept.answers + self.fresh.answers)
        return {"fresh_requests": len(self.fresh.answers), **self.kept.figures(), **rows}
