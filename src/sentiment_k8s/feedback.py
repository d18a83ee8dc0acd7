"""What people say of predictions: the label that would have been right."""

import json
from typing import Any
from uuid import UUID

import asyncpg

from .connections import UNFIT, Connection
from .database import Database
from .errors import NotFound, RequestError
from .pages import feedback_as_json, find_row

# The same again leaves everything as it is, the time too. A row erased meanwhile gets none.
GIVE = """
INSERT INTO feedback (prediction_id, predicted_at, label, comment)
SELECT id, created_at, $3, $4 FROM predictions WHERE id = $1 AND created_at = $2
ON CONFLICT (predicted_at, prediction_id) DO UPDATE
SET label = excluded.label, comment = excluded.comment, given_at = CASE
    WHEN (feedback.label, feedback.comment) IS NOT DISTINCT FROM (excluded.label, excluded.comment)
    THEN feedback.given_at ELSE excluded.given_at
END
RETURNING label AS feedback_label, comment, given_at
"""


async def give(
    database: Database, row_id: UUID, label: str, comment: str | None = None
) -> dict[str, Any]:
    """Keep feedback on a row, in place of any before. The same again changes nothing.

    Args:
        database: the log.
        row_id: of the prediction.
        label: the right one, among those that the row has scores of.
        comment: in words.

    Returns:
        What is kept, fit for JSON.

    Raises:
        NotFound: there is no such row.
        RequestError: the model has no such label, or PostgreSQL cannot hold these characters.
    """

    async def look(connection: Connection) -> asyncpg.Record | None:
        return await find_row(connection, row_id)

    row = await database.read(look)
    if row is None:
        raise NotFound(f"There is no prediction {row_id}.")
    labels = json.loads(row["scores"] or "{}")
    if labels and label not in labels:
        raise RequestError(f"label: the model knows {', '.join(sorted(labels))}; send one of them.")

    async def keep(connection: Connection) -> asyncpg.Record | None:
        return await connection.fetchrow(GIVE, row_id, row["created_at"], label, comment)

    try:
        kept = await database.keyed(keep)
    except UNFIT as error:
        raise RequestError(
            f"The log cannot hold this ({type(error).__name__}): leave out characters that are not "
            "valid Unicode, and NUL."
        ) from None
    if kept is None:
        raise NotFound(f"There is no prediction {row_id} any more.")
    found = feedback_as_json(dict(kept))
    assert found is not None  # noqa: S101  # it has a label
    return found
