"""The log as CSV, JSON Lines and Parquet (with the extra `[parquet]`): the same rows in each."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from pydantic_core import to_json

from .database import Database
from .errors import InputError
from .files.delimited import csv_bytes
from .files.formats import SUFFIXES, Format, suffix_of
from .files.output import whole_file
from .pages import all_predictions
from .schemas import Feedback, LoggedPrediction
from .search import Filters

Row = dict[str, Any]

CONNECT_SECONDS = 5.0

# In CSV and Parquet the feedback's fields are columns of their own.
FEEDBACK = {f"feedback_{name}": name for name in Feedback.model_fields}
COLUMNS = [name for name in LoggedPrediction.model_fields if name != "feedback"] + [*FEEDBACK]


def flat(row: Row) -> Row:
    """A row with its feedback in columns."""
    feedback = row["feedback"] or {}
    return row | {column: feedback.get(name) for column, name in FEEDBACK.items()}


class Encoder(Protocol):
    """Turns rows into the bytes of a stream."""

    media_type: str

    def head(self) -> bytes: ...

    def encode(self, rows: Sequence[Row]) -> bytes: ...


class CsvRows:
    """A header and a line a row; scores are JSON."""

    media_type = "text/csv"

    def __init__(self, delimiter: str = ",") -> None:
        self._delimiter = delimiter

    def head(self) -> bytes:
        return csv_bytes([COLUMNS], self._delimiter)

    def encode(self, rows: Sequence[Row]) -> bytes:
        return csv_bytes(
            ([row[name] for name in COLUMNS] for row in map(flat, rows)), self._delimiter
        )


class JsonLines:
    """A JSON object a line."""

    media_type = "application/x-ndjson"

    def head(self) -> bytes:
        return b""

    def encode(self, rows: Sequence[Row]) -> bytes:
        return b"".join(to_json(row) + b"\n" for row in rows)


async def export_log(database: Database, filters: Filters, path: Path, *, replace: bool) -> int:
    """Write all rows that pass some filters to a file, newest first. It gets its name when it is
    complete.

    Args:
        database: the log.
        filters: which rows.
        path: where to; its extension says the format: csv, tsv, jsonl (ndjson), parquet (pq).
        replace: also where there is such a file.

    Returns:
        How many rows.

    Raises:
        InputError: the file cannot be written, or its name does not tell a format that we write.
        DatabaseUnavailable: PostgreSQL went away; there is no file.
    """
    done = 0
    writing = _writer_for(path)
    with whole_file(path, replace=replace) as file, writing(file) as write:
        async for rows in all_predictions(database, filters):
            write(rows)
            done += len(rows)
    return done


async def export_to(path: Path, dsn: str, filters: Filters, *, replace: bool) -> int:
    """`export_log` of a database by its address, as `DATABASE_URL` would have it."""
    database = Database(dsn, connect_seconds=CONNECT_SECONDS)
    try:
        return await export_log(database, filters, path, replace=replace)
    finally:
        await database.close()


Write = Callable[[Sequence[Row]], object]


def _writer_for(path: Path) -> Callable[[BinaryIO], AbstractContextManager[Write]]:
    match SUFFIXES.get(suffix_of(str(path))):
        case Format.CSV:
            return partial(_stream, CsvRows("\t" if suffix_of(str(path)) == ".tsv" else ","))
        case Format.JSONL:
            return partial(_stream, JsonLines())
        case Format.PARQUET:
            from .log_parquet import parquet  # pyarrow is an extra

            return parquet
        case _:
            raise InputError(
                f"The name {str(path)!r} does not tell its format: end it in .csv, .jsonl or "
                ".parquet."
            )


@contextmanager
def _stream(encoder: Encoder, file: BinaryIO) -> Iterator[Write]:
    file.write(encoder.head())
    yield lambda rows: file.write(encoder.encode(rows))
