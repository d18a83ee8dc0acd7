"""Which format a file has, and what reads and writes it."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .delimited import CsvEncoder, CsvReader
from .jsonl import JsonLinesEncoder, JsonLinesReader
from .output import Merge
from .plain import LinesEncoder, LinesReader
from .rows import Encoder, Reader
from .source import Source

if TYPE_CHECKING:
    from .parquet import ParquetReader


class Format(StrEnum):
    """The values of `--format` besides `auto`."""

    CSV = "csv"
    JSONL = "jsonl"
    LINES = "lines"
    PARQUET = "parquet"


SUFFIXES = {
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".json": Format.JSONL,
    ".txt": Format.LINES,
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
}


def suffix_of(path: str) -> str:
    return Path(path).suffix.lower()


def input_format(path: str, asked: str = "auto") -> Format:
    """Says how to read a file.

    Args:
        path: the file, or `-` for standard input, which is plain lines unless said otherwise.
        asked: a format's name, or `auto` to go by the file's extension.

    Raises:
        InputError: the extension says nothing.
    """
    if asked != "auto":
        return Format(asked)
    if path == "-":
        return Format.LINES
    try:
        return SUFFIXES[suffix_of(path)]
    except KeyError:
        raise InputError(
            f"The name {path!r} does not tell its format; say --format csv, jsonl, lines or "
            f"parquet."
        ) from None


def open_reader(path: str, kind: Format, column: str | None) -> Reader:
    """Opens the input.

    Raises:
        InputError: it cannot be read, or does not have the column.
    """
    if kind is Format.PARQUET:
        return parquet_reader(path, column)
    source = Source(path)
    try:
        if kind is Format.CSV:
            return CsvReader(source, column, "\t" if suffix_of(path) == ".tsv" else None)
        return (JsonLinesReader if kind is Format.JSONL else LinesReader)(source, column)
    except BaseException:
        source.close()
        raise


def parquet_reader(path: str, column: str | None) -> "ParquetReader":
    from .parquet import ParquetReader  # pyarrow is an extra

    return ParquetReader(path, column)


def open_encoder(reader: Reader, kind: Format, output: str | None) -> tuple[Encoder, Merge | None]:
    """Makes the encoder for the output, and what turns its bytes into the final file, if anything.

    Args:
        reader: the opened input, for its columns.
        kind: the input's format, which is kept where the output's name says nothing.
        output: the output's name, if it has one.

    Raises:
        InputError: Parquet was asked for on standard output.
    """
    kind = SUFFIXES.get(suffix_of(output), kind) if output else kind
    if kind is Format.PARQUET:
        if output is None:
            raise InputError(
                "Parquet cannot go to standard output; name a file: --output FILE.parquet "
                "(or FILE.csv, FILE.jsonl)."
            )
        from .parquet import ParquetEncoder, merge  # pyarrow is an extra

        return ParquetEncoder(reader.columns, getattr(reader, "schema", None)), merge
    if kind is Format.CSV:
        return CsvEncoder(reader.columns, output_delimiter(reader, output)), None
    if kind is Format.JSONL:
        return JsonLinesEncoder(), None
    return LinesEncoder(reader.column), None


def output_delimiter(reader: Reader, output: str | None) -> str:
    """A tab for a .tsv file, else the input's own delimiter when it was CSV, else a comma."""
    if output and suffix_of(output) == ".tsv":
        return "\t"
    if isinstance(reader, CsvReader) and (output is None or suffix_of(output) != ".csv"):
        return reader.delimiter
    return ","
