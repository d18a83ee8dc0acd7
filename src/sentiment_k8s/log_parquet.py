"""The log's rows as Parquet: texts, numbers, times, and a map of scores."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, BinaryIO

from .files.parquet import GroupWriter, pa
from .log_export import Row, flat

TIME = pa.timestamp("ms", tz="UTC")
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "created_at": TIME,
        "text": pa.string(),
        "prediction": pa.string(),
        "score": pa.float64(),
        "scores": pa.map_(pa.string(), pa.float64()),
        "model": pa.string(),
        "revision": pa.string(),
        "precision": pa.string(),
        "engine": pa.string(),
        "tokens": pa.int32(),
        "truncated": pa.bool_(),
        "queue_seconds": pa.float64(),
        "inference_seconds": pa.float64(),
        "request_id": pa.string(),
        "subject": pa.string(),
        "feedback_label": pa.string(),
        "feedback_comment": pa.string(),
        "feedback_given_at": TIME,
    }
)


@contextmanager
def parquet(file: BinaryIO) -> Iterator[Callable[[Sequence[Row]], None]]:
    """What writes rows to a file, row group by row group."""
    with GroupWriter(file, SCHEMA) as groups:
        yield lambda rows: groups.write(_batch(rows))


def _batch(rows: Sequence[Row]) -> Any:
    return pa.RecordBatch.from_pylist([_typed(flat(row)) for row in rows], schema=SCHEMA)


def _typed(row: Row) -> Row:
    times = {name: row[name] and datetime.fromisoformat(row[name]) for name in TIMES}
    return row | times | {"scores": row["scores"] and list(row["scores"].items())}


TIMES = [field.name for field in SCHEMA if field.type == TIME]
