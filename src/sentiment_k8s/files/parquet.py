"""Parquet, with the extra `[parquet]`: record batches in and out.

Parquet's index stands at its end, so that a file cannot be gone on with after a kill. What is
written while classifying is therefore a row of Arrow IPC streams, one a chunk, which can be cut
after any chunk; `merge` makes the Parquet file of them when all rows are there.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ..errors import InputError
from .delimited import as_cell
from .rows import (
    Chunk,
    Outcome,
    Position,
    Row,
    Unreadable,
    added_names,
    as_text,
    choose_column,
    values_in,
)
from .source import changed, name_of, unreadable

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ModuleNotFoundError as missing:
    raise InputError('Parquet needs pyarrow: pip install "sentiment-k8s[parquet]".') from missing

__all__ = ["GroupWriter", "ParquetEncoder", "ParquetReader", "merge", "pa"]

GROUP_ROWS = 65_536
GROUP_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ArrowChunk:
    """A chunk that is a record batch."""

    texts: Sequence[str | Unreadable]
    end: Position
    batch: Any

    def rows(self) -> Sequence[Row]:
        names, columns = self.batch.schema.names, map(plain_values, self.batch.columns)
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def plain_values(column: Any) -> list[object]:
    """The values as Python objects; None for NaN and infinities, which JSON does not have."""
    if pa.types.is_temporal(column.type) and getattr(column.type, "unit", None) == "ns":
        # Python's times end at microseconds.
        column = column.cast(pa.string())
    return [
        None if isinstance(value, float) and not math.isfinite(value) else value
        for value in column.to_pylist()
    ]


class ParquetReader:
    """Reads a Parquet file by record batches, row group by row group.

    Args:
        path: the file; standard input cannot be read, since the index stands at the end.
        column: the column with the texts, or None to choose it by the names.

    Raises:
        InputError: it cannot be read, or the column is absent or not of strings.
    """

    def __init__(self, path: str, column: str | None) -> None:
        self._name = name_of(path)
        if path == "-":
            raise InputError("Parquet cannot be read from standard input; give the file's name.")
        try:
            self._file = pq.ParquetFile(path, buffer_size=1024 * 1024, pre_buffer=False)
        except OSError as error:
            raise unreadable(path, error) from error
        except pa.ArrowException as error:
            raise InputError(f"{self._name} is not a Parquet file: {error}") from error
        self.schema = self._file.schema_arrow
        self.columns: Sequence[str] = self.schema.names
        if len(set(self.columns)) < len(self.columns):
            raise InputError(f"{self._name} has two columns of one name: rename one.")
        self.column = choose_column(self.columns, column, self._name)
        self._check_type()
        self.size = self._file.metadata.num_rows
        self._digest = footer_digest(path)
        self._done = 0

    def skip_to(self, position: Position) -> None:
        if position.digest != self._digest:
            raise changed(self._name)
        self._done = position.rows

    def chunks(self, rows: int) -> Iterator[Chunk]:
        for batch in self._batches(rows):
            self._done += batch.num_rows
            yield ArrowChunk(
                self._texts(batch), Position(self._done, 0, self._done, self._digest), batch
            )

    def close(self) -> None:
        """Leaves it to the last reference: a thread may still be reading when a run is stopped."""

    def _batches(self, rows: int) -> Iterator[Any]:
        begin, done = 0, self._done
        for group in range(self._file.num_row_groups):
            end = begin + self._file.metadata.row_group(group).num_rows
            if end > done:
                skip = max(0, done - begin)
                for batch in self._file.iter_batches(rows, row_groups=[group]):
                    rest = batch.slice(min(skip, batch.num_rows))
                    skip -= batch.num_rows - rest.num_rows
                    if rest.num_rows:
                        yield rest
            begin = end

    def _texts(self, batch: Any) -> list[str | Unreadable]:
        try:
            return [as_text(value) for value in batch.column(self.column).to_pylist()]
        except UnicodeDecodeError as error:
            raise InputError(
                f"Column {self.column!r} of {self._name} is not UTF-8 in one of rows "
                f"{self._done - batch.num_rows + 1} to {self._done}."
            ) from error

    def _check_type(self) -> None:
        kind = self.schema.field(self.column).type
        value = kind.value_type if pa.types.is_dictionary(kind) else kind
        if value not in (pa.null(), pa.string(), pa.large_string(), pa.string_view()):
            raise InputError(f"Column {self.column!r} of {self._name} holds {kind}, not text.")


class ParquetEncoder:
    """Writes an Arrow IPC stream a chunk; `merge` makes Parquet of them.

    Args:
        columns: the input's columns.
        schema: their Arrow schema when the input is Parquet; else each column becomes strings.
    """

    def __init__(self, columns: Sequence[str], schema: Any = None) -> None:
        self._columns = columns
        self._input = schema or pa.schema([(name, pa.string()) for name in columns])
        kinds = pa.string(), pa.float64(), pa.bool_(), pa.string()
        self._added = [pa.field(*pair) for pair in zip(added_names(columns), kinds, strict=True)]
        self._schema = pa.schema([*self._input, *self._added], self._input.metadata)

    def head(self) -> bytes:
        return stream_of(self._schema, [])

    def encode(self, chunk: Chunk, outcomes: Sequence[Outcome]) -> bytes:
        batch = chunk.batch if isinstance(chunk, ArrowChunk) else self._batch(chunk.rows())
        cells = zip(*(outcome.cells() for outcome in outcomes), strict=True)
        added = [pa.array(cell, field.type) for cell, field in zip(cells, self._added, strict=True)]
        columns = [*batch.columns, *added]
        return stream_of(self._schema, [pa.record_batch(columns, schema=self._schema)])

    def _batch(self, rows: Sequence[Row]) -> Any:
        values = zip(*(values_in(row, self._columns) for row in rows), strict=True)
        return pa.record_batch([strings(column) for column in values], schema=self._input)


def strings(values: Sequence[object]) -> Any:
    """A column of strings: texts as they are, JSON for other values, null for None."""
    texts = [None if value is None else as_cell(value) for value in values]
    return pa.array(
        [text and text.encode(errors="backslashreplace").decode() for text in texts], pa.string()
    )


def stream_of(schema: Any, batches: Sequence[Any]) -> bytes:
    """One Arrow IPC stream; each chunk has its own, so that dictionaries need no state."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue())


def batches_in(streams: Path) -> Iterator[Any]:
    """The record batches of a file of Arrow IPC streams."""
    with pa.OSFile(str(streams)) as file:
        while file.tell() < file.size():
            with pa.ipc.open_stream(file) as reader:
                yield from reader


def merge(streams: Path, target: Path) -> None:
    """Makes a Parquet file of what `ParquetEncoder` wrote.

    Row groups are filled by rows and bytes alone, so that the file is the same however often
    the run was interrupted.
    """
    with pa.OSFile(str(streams)) as file:
        schema = pa.ipc.open_stream(file).schema
    with GroupWriter(str(target), schema) as writer:
        for batch in batches_in(streams):
            writer.write(batch)


class GroupWriter:
    """Writes record batches to a Parquet file, gathered into row groups.

    Args:
        target: a path or an open binary file.
        schema: of all batches.
    """

    def __init__(self, target: Any, schema: Any) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(target, schema)
        self._group: list[Any] = []

    def write(self, batch: Any) -> None:
        self._group.append(batch)
        rows = sum(member.num_rows for member in self._group)
        if rows >= GROUP_ROWS or sum(member.nbytes for member in self._group) >= GROUP_BYTES:
            self._flush(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._group:
            self._flush(GROUP_ROWS)
        self._writer.close()

    def _flush(self, rows: int) -> None:
        self._writer.write_table(pa.Table.from_batches(self._group, self._schema), rows)
        self._group = []


def footer_digest(path: str) -> str:
    """Knows a Parquet file again by its size and its footer (offsets, sizes and statistics)."""
    with Path(path).open("rb") as file:
        end = file.seek(0, 2)
        file.seek(max(0, end - 8))
        footer = int.from_bytes(file.read(4), "little")
        file.seek(max(0, end - 8 - footer))
        return hashlib.blake2b(file.read() + str(end).encode(), digest_size=16).hexdigest()
