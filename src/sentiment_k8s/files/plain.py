"""Plain lines: a text a line in; prediction, score and text, separated by tabs, out."""

from collections.abc import Iterator, Sequence

from ..errors import InputError
from .rows import Chunk, Outcome, Position, Row, RowChunk, as_text
from .source import Source

COLUMN = "text"


class LinesReader:
    """Reads a text a line; an empty line is a row too, so that lines keep their numbers.

    Raises:
        InputError: a column was named, or the source cannot be read.
    """

    columns: Sequence[str] = (COLUMN,)
    column = COLUMN

    def __init__(self, source: Source, column: str | None = None) -> None:
        if column is not None:
            raise InputError(
                f"{source.name} is read as plain lines, which have no column {column!r}; say "
                f"what it is with --format csv or --format jsonl."
            )
        self._source = source
        self.size = source.size

    def skip_to(self, position: Position) -> None:
        self._source.skip_to(position)

    def chunks(self, rows: int) -> Iterator[Chunk]:
        for lines in self._source.chunks_of(self._lines(), rows):
            yield RowChunk(
                [as_text(line) for line in lines],
                self._source.position(),
                [{COLUMN: line} for line in lines],
            )

    def close(self) -> None:
        self._source.close()

    def _lines(self) -> Iterator[str]:
        while line := self._source.line():
            yield line.removesuffix("\n").removesuffix("\r")


class LinesEncoder:
    """Writes `prediction TAB score TAB text`; a row with an error has the first two empty.

    The text comes last because it may hold tabs. A line break in it (from another format)
    becomes a space.
    """

    def __init__(self, column: str = COLUMN) -> None:
        self._column = column

    def head(self) -> bytes:
        return b""

    def encode(self, chunk: Chunk, outcomes: Sequence[Outcome]) -> bytes:
        pairs = zip(chunk.rows(), outcomes, strict=True)
        return "".join(self._line(row, outcome) for row, outcome in pairs).encode(
            errors="backslashreplace"
        )

    def _line(self, row: Row, outcome: Outcome) -> str:
        prediction, score, _, _ = outcome.cells()
        value = row.get(self._column)
        text = "" if value is None else str(value).replace("\n", " ")
        return f"{prediction or ''}\t{'' if score is None else score}\t{text}\n"
