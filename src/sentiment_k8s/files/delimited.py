"""CSV: a header and rows; the same columns and the outcome's out."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from ..errors import InputError
from .rows import (
    Chunk,
    Outcome,
    Position,
    Row,
    RowChunk,
    Unreadable,
    added_names,
    as_text,
    choose_column,
    distinct,
    values_in,
)
from .source import MAX_LINE_BYTES, Source


class CsvReader:
    """Reads rows under a header, with quotes and line breaks inside quotes.

    Args:
        source: the lines.
        column: the column with the texts, or None to choose it by the header.
        delimiter: what separates fields; None looks at the header (comma, semicolon or tab).

    Raises:
        InputError: there is no header or no such column, or a quote is never closed.
    """

    def __init__(self, source: Source, column: str | None, delimiter: str | None = None) -> None:
        self._source = source
        self._record_line = 0
        self.size = source.size
        self.delimiter = delimiter or delimiter_in(source.peek())
        # Process-wide, like the limit that it lifts (131,072 characters); ours bounds memory too.
        csv.field_size_limit(MAX_LINE_BYTES)
        self._parsed = self._records()
        header = next(self._parsed, None)
        if header is None:
            raise InputError(f"{source.name} is empty; a CSV file begins with its header.")
        self.columns: Sequence[str] = distinct(header)
        self.column = choose_column(self.columns, column, f"{source.name} (line 1 is its header)")

    def skip_to(self, position: Position) -> None:
        self._source.skip_to(position)

    def chunks(self, rows: int) -> Iterator[Chunk]:
        for records in self._source.chunks_of(self._parsed, rows):
            parsed = [self._row(fields) for fields in records]
            texts = [self._text(*pair) for pair in zip(records, parsed, strict=True)]
            yield RowChunk(texts, self._source.position(), parsed)

    def close(self) -> None:
        self._source.close()

    def _row(self, fields: Sequence[str]) -> Row:
        # Fields missing at the end are empty: spreadsheets leave trailing ones out.
        return dict(zip_longest(self.columns, fields[: len(self.columns)], fillvalue=""))

    def _text(self, fields: Sequence[str], row: Row) -> str | Unreadable:
        if len(fields) > len(self.columns):
            return Unreadable(
                f"The row has {len(fields)} fields and the header {len(self.columns)}."
            )
        return as_text(row[self.column])

    def _records(self) -> Iterator[list[str]]:
        records = csv.reader(self._lines(), delimiter=self.delimiter)
        while True:
            try:
                fields = next(records, None)
            except csv.Error as error:
                raise InputError(
                    f"The row at line {self._record_line} of {self._source.name} is not CSV: "
                    f"{error}."
                ) from error
            if fields is None:
                return
            self._record_line = 0
            if fields:
                yield fields

    def _lines(self) -> Iterator[str]:
        while line := self._source.line():
            self._record_line = self._record_line or self._source.lines
            yield line
        if self._record_line:
            raise InputError(
                f"The quote in the row at line {self._record_line} of {self._source.name} is "
                f"never closed."
            )


class CsvEncoder:
    """Writes the columns and then prediction, score, truncated and error.

    Args:
        columns: the input's columns; where one has a name of ours, ours gets a number.
        delimiter: what separates fields.
    """

    def __init__(self, columns: Sequence[str], delimiter: str = ",") -> None:
        self._columns = columns
        self._delimiter = delimiter

    def head(self) -> bytes:
        return csv_bytes([[*self._columns, *added_names(self._columns)]], self._delimiter)

    def encode(self, chunk: Chunk, outcomes: Sequence[Outcome]) -> bytes:
        rows = zip(chunk.rows(), outcomes, strict=True)
        return csv_bytes(
            ([*values_in(row, self._columns), *outcome.cells()] for row, outcome in rows),
            self._delimiter,
        )


def csv_bytes(rows: Iterable[Iterable[object]], delimiter: str = ",") -> bytes:
    """Rows of values as CSV."""
    text = io.StringIO()
    minimal, full = (
        csv.writer(text, delimiter=delimiter, lineterminator="\n", quoting=quoting)
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
    )
    for row in rows:
        cells = [as_cell(value) for value in row]
        # The csv module leaves a carriage return bare, which it then refuses to read.
        bare = any("\r" in cell for cell in cells)
        (full if bare else minimal).writerow(cells)
    return text.getvalue().encode(errors="backslashreplace")


def delimiter_in(header: str) -> str:
    """What separates the fields of a header: a comma, else a semicolon or a tab if it has one."""
    return next((mark for mark in ",;\t" if mark in header), ",")


def as_cell(value: object) -> str:
    """The text of a value in CSV: nothing for None, JSON for what has parts."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
