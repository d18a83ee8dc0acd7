"""Small fakes for tests, ours and yours: what is slow or broken elsewhere obeys here."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from .records import Identities, PredictionRow

_identities = Identities()


def example_row(text: str = "I love AI!", **changes: object) -> PredictionRow:
    """A row of the log as the bundled model would give it, with an identity of its own.

    Args:
        text: what was classified.
        changes: other values by field name.
    """
    identity, created_at = _identities.next()
    row = PredictionRow(
        id=identity,
        created_at=created_at,
        text=text,
        prediction="POSITIVE",
        score=0.75,
        scores={"NEGATIVE": 0.25, "POSITIVE": 0.75},
        model="bundled",
        revision="0123456789abcdef",
        precision="int8",
        engine="onnxruntime",
        tokens=6,
        truncated=False,
        queue_seconds=0.001,
        inference_seconds=0.002,
        request_id="request-1",
    )
    return replace(row, **changes)  # type: ignore[arg-type]  # a wrong name is a TypeError


class MemoryStore:
    """A `RowStore` in memory that can be told to wait and to fail.

    Attributes:
        commits: the rows of each commit that succeeded, in order.
        failure: raised by the next commit, once.
        under_way: set while a commit waits to be released.
    """

    def __init__(self) -> None:
        self.commits: list[list[PredictionRow]] = []
        self.failure: Exception | None = None
        self.under_way = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()

    @property
    def rows(self) -> list[PredictionRow]:
        """All rows that are durable."""
        return [row for commit in self.commits for row in commit]

    def hold(self) -> None:
        """Let commits wait from now on."""
        self._open.clear()

    def release(self) -> None:
        """Let commits go on."""
        self._open.set()

    async def insert(self, rows: Sequence[PredictionRow]) -> None:
        """Keep `rows`, once released, or raise `failure`."""
        self.under_way.set()
        await self._open.wait()
        self.under_way.clear()
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        self.commits.append(list(rows))
