"""What every format is turned into: rows in chunks, and how far into the input they reach."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import InputError

Row = dict[str, object]

ADDED = ("prediction", "score", "truncated", "error")
TEXT_COLUMNS = ("text", "sentence")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one text: a prediction, or why there is none.

    Args:
        prediction: the label; None when there is an error.
        score: probability of the label (for a regression head its value); None when there is
            an error.
        truncated: whether the text was longer than the model takes and was cut.
        error: one sentence on why the text was not classified.
    """

    prediction: str | None
    score: float | None
    truncated: bool = False
    error: str | None = None

    def cells(self) -> tuple[str | None, float | None, bool, str | None]:
        """The values of the columns in `ADDED`; six digits are all that a float32 score has."""
        score = None if self.score is None else round(self.score, 6)
        return self.prediction, score, self.truncated, self.error


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that has no text to classify, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Position:
    """How far the input has been read.

    Args:
        rows: rows before this position.
        lines: lines before it (0 for Parquet).
        offset: bytes before it (rows for Parquet), in the unit of `Reader.size`.
        digest: digest of the input up to here, by which a later run knows the input again.
    """

    rows: int
    lines: int
    offset: int
    digest: str


class Chunk(Protocol):
    """Some rows in input order, the text of each, and the position after the last."""

    @property
    def texts(self) -> Sequence[str | Unreadable]: ...

    @property
    def end(self) -> Position: ...

    def rows(self) -> Sequence[Row]:
        """The rows with their columns' values as plain Python objects."""
        ...


@dataclass(frozen=True, slots=True)
class RowChunk:
    """A chunk of a format whose rows are parsed anyway."""

    texts: Sequence[str | Unreadable]
    end: Position
    parsed: Sequence[Row]

    def rows(self) -> Sequence[Row]:
        return self.parsed


class Reader(Protocol):
    """An opened input: its columns, and its rows from any position on."""

    @property
    def columns(self) -> Sequence[str]: ...

    @property
    def column(self) -> str:
        """The column that holds the texts."""
        ...

    @property
    def size(self) -> int | None:
        """The last position's offset, where it is known before the end."""
        ...

    def skip_to(self, position: Position) -> None:
        """Goes on after `position`, which an earlier run reached.

        Raises:
            InputError: the input before that position is not what it was.
        """
        ...

    def chunks(self, rows: int) -> Iterator[Chunk]:
        """Yields the rest in chunks of `rows` rows (fewer where texts are very long)."""
        ...

    def close(self) -> None: ...


class Encoder(Protocol):
    """Turns chunks and their outcomes into the bytes of the output."""

    def head(self) -> bytes:
        """What stands before the first row."""
        ...

    def encode(self, chunk: Chunk, outcomes: Sequence[Outcome]) -> bytes: ...


def choose_column(columns: Sequence[str], asked: str | None, name: str) -> str:
    """Says which column holds the texts.

    Args:
        columns: the input's columns in their order.
        asked: the column the user named, if any.
        name: the input's name, for the error.

    Raises:
        InputError: the column is not there, or none was named and no choice is obvious.
    """
    listing = ", ".join(repr(column) for column in columns)
    if asked is not None:
        if asked not in columns:
            raise InputError(f"{name} has no column {asked!r}; its columns are: {listing}.")
        return asked
    for usual in TEXT_COLUMNS:
        for column in columns:
            if column.casefold() == usual:
                return column
    if len(columns) == 1:
        return columns[0]
    raise InputError(
        f"Which column of {name} holds the texts? Name it with --column; the columns are: "
        f"{listing or 'none'}."
    )


def unused(name: str, taken: Collection[str]) -> str:
    """Returns `name`, or `name_2`, `name_3`, ... when it is taken."""
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate


def distinct(names: Sequence[str]) -> list[str]:
    """Gives repeated names a number, so that they can be the keys of a row."""
    result: list[str] = []
    for name in names:
        # A number must not take a name that stands later in the header.
        result.append(unused(name, result if name not in result else {*result, *names}))
    return result


def added_names(columns: Collection[str]) -> list[str]:
    """The names under which the outcome stands beside `columns`."""
    return [unused(name, columns) for name in ADDED]


def as_text(value: object) -> str | Unreadable:
    """Returns `value` as a text to classify, or why it is none."""
    if value is None:
        return Unreadable("The text is missing.")
    if not isinstance(value, str):
        return Unreadable(f"The text is not a string but {type(value).__name__}.")
    if not value.strip():
        return Unreadable("The text is empty.")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return Unreadable("The text has a lone surrogate, which is not Unicode.")
    return value


def values_in(row: Row, columns: Sequence[str]) -> list[object]:
    """The row's values in the order of `columns`; absent ones are None.

    Raises:
        InputError: the row has a field for which the output has no column.
    """
    if not row.keys() <= set(columns):
        extra = next(key for key in row if key not in columns)
        raise InputError(
            f"A row has the field {extra!r}, which the first row lacks, and this output has one "
            f"set of columns; write JSON Lines instead (--output FILE.jsonl)."
        )
    return [row.get(column) for column in columns]
