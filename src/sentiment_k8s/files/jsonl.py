"""JSON Lines: an object or a string a line in, an object a line out."""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, time

from ..errors import InputError
from .rows import (
    Chunk,
    Outcome,
    Position,
    Row,
    Unreadable,
    added_names,
    as_text,
    choose_column,
)
from .source import Source

COLUMN = "text"


@dataclass(frozen=True, slots=True)
class JsonChunk:
    """A chunk that keeps each line as it was written, digit by digit."""

    texts: Sequence[str | Unreadable]
    end: Position
    parsed: Sequence[Row]
    lines: Sequence[str]

    def rows(self) -> Sequence[Row]:
        return self.parsed


class JsonLinesReader:
    """Reads an object or a string a line; blank lines are passed over.

    Args:
        source: the lines.
        column: the field with the texts, or None to choose it by the first object.

    Raises:
        InputError: a line is not JSON, or neither an object nor a string, or there is no such
            field in the first.
    """

    def __init__(self, source: Source, column: str | None) -> None:
        self._source = source
        self.size = source.size
        self._pending: str | None = self._next_line()
        first = self._value(self._pending) if self._pending else ""
        self.columns: Sequence[str] = list(first) if isinstance(first, dict) else [COLUMN]
        self.column = choose_column(
            self.columns, column, f"the object in line {source.lines} of {source.name}"
        )

    def skip_to(self, position: Position) -> None:
        if position.rows:
            self._pending = None
            self._source.skip_to(position)

    def chunks(self, rows: int) -> Iterator[Chunk]:
        for records in self._source.chunks_of(self._records(), rows):
            lines, parsed = zip(*records, strict=True)
            texts = [as_text(row.get(self.column)) for row in parsed]
            yield JsonChunk(texts, self._source.position(), parsed, lines)

    def close(self) -> None:
        self._source.close()

    def _records(self) -> Iterator[tuple[str, Row]]:
        line = self._pending or self._next_line()
        while line is not None:
            value = self._value(line)
            row: Row = value if isinstance(value, dict) else {self.column: value}
            yield line, row
            line = self._next_line()

    def _next_line(self) -> str | None:
        while line := self._source.line():
            if line := line.strip():
                return line
        return None

    def _value(self, line: str) -> Row | str:
        where = f"Line {self._source.lines} of {self._source.name}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{where} is not JSON: {error}. Mend the line and run the command again."
            ) from error
        if isinstance(value, dict | str):
            return value
        hint = " (jq -c '.[]' makes JSON Lines of a JSON array)" if isinstance(value, list) else ""
        raise InputError(f"{where} is neither a JSON object nor a string{hint}.")


class JsonLinesEncoder:
    """Writes each object with prediction, score, truncated and, where there is one, error.

    An object that has a field of such a name gets ours with a number.
    """

    def head(self) -> bytes:
        return b""

    def encode(self, chunk: Chunk, outcomes: Sequence[Outcome]) -> bytes:
        rows = chunk.rows()
        lines = chunk.lines if isinstance(chunk, JsonChunk) else [""] * len(rows)
        return b"".join(map(encoded, lines, rows, outcomes))


def encoded(line: str, row: Row, outcome: Outcome) -> bytes:
    """One line of output; `line` is the object as it was written, if it was JSON."""
    added: Row = dict(zip(added_names(row), outcome.cells(), strict=True))
    if outcome.error is None:
        added.popitem()
    if not line.startswith("{"):
        return dumped(row | added)
    separator = ", " if row else ""
    return f"{line[:-1].rstrip()}{separator}".encode() + dumped(added)[1:]


def dumped(value: Row) -> bytes:
    """A line of JSON; escaped where a text has lone surrogates, which UTF-8 cannot hold."""
    try:
        return (json.dumps(value, ensure_ascii=False, default=plain) + "\n").encode()
    except UnicodeEncodeError:
        return (json.dumps(value, default=plain) + "\n").encode()


def plain(value: object) -> str:
    """A JSON string for what JSON has no type for (times, decimals and bytes of Parquet)."""
    if isinstance(value, date | time):
        return value.isoformat()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
