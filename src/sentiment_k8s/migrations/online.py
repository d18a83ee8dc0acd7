"""Changes of the partitioned log, made while rows come in."""

import logging
import time

from alembic import op
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

logger = logging.getLogger(__name__)

LOCK_NOT_AVAILABLE = "55P03"
RETRY_SECONDS = 0.2
SAY_SECONDS = 10.0

# Made in this very transaction: nobody else can see the table yet, let alone write to it.
IS_OURS_ALONE = """
SELECT xmin = pg_current_xact_id()::xid FROM pg_class WHERE oid = 'predictions'::regclass
"""
PARTITIONS = """
SELECT child.relname FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
WHERE inhparent = 'predictions'::regclass ORDER BY 1
"""
IS_INVALID = """
SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)
"""


def create_index(name: str, columns: str, of_partition: str) -> None:
    """Index the log and all its partitions; in a migration what is made online comes first.

    CREATE INDEX on the parent would keep writers waiting for as long as it takes to read all rows.
    So every partition gets its index beside the traffic first, outside any transaction (what an
    earlier try left behind is used, or made again where it is no good), and the parent's then only
    takes them over.

    Args:
        name: the parent's index.
        columns: what follows `ON table` in CREATE INDEX.
        of_partition: how PostgreSQL names the index of a partition: this after its table's name.
    """
    if _nobody_else_is_there():
        op.execute(f"CREATE INDEX {name} ON predictions {columns}")
        return
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        for partition in connection.scalars(text(PARTITIONS)).all():
            index = f"{partition}_{of_partition}"
            if connection.scalar(text(IS_INVALID), {"name": index}):
                op.execute(f"DROP INDEX CONCURRENTLY {index}")
            logger.info("Indexing %s while rows come in: %s", partition, columns)
            op.execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {index} ON {partition} {columns}")
        _alone(connection, f"CREATE INDEX IF NOT EXISTS {name} ON predictions {columns}")


def drop_index(name: str) -> None:
    """Drop an index of the log that another one replaces."""
    if _nobody_else_is_there():
        op.execute(f"DROP INDEX {name}")
        return
    with op.get_context().autocommit_block():
        _alone(op.get_bind(), f"DROP INDEX IF EXISTS {name}")


def add_column(name: str, kind: str) -> None:
    """Add a column to the log and all its partitions; in a migration it comes first, as indexes do.

    Rows that are there have null in it, and none of them is written again.

    Args:
        name: of the column.
        kind: its type.
    """
    if _nobody_else_is_there():
        op.execute(f"ALTER TABLE predictions ADD COLUMN {name} {kind}")
        return
    with op.get_context().autocommit_block():
        _alone(op.get_bind(), f"ALTER TABLE predictions ADD COLUMN IF NOT EXISTS {name} {kind}")


def _nobody_else_is_there() -> bool:
    return op.get_context().as_sql or bool(op.get_bind().scalar(text(IS_OURS_ALONE)))


def _alone(connection: Connection, statement: str) -> None:
    """Run what needs a moment without readers or writers, giving way until there is one: whoever
    comes meanwhile waits behind us."""
    connection.execute(text("SET lock_timeout = '100ms'"))
    said = time.monotonic()
    while True:
        try:
            connection.execute(text(statement))
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
            if time.monotonic() - said > SAY_SECONDS:
                said = time.monotonic()
                logger.info("Waiting for readers and writers of the log to end: %s", statement)
            time.sleep(RETRY_SECONDS)
        else:
            break
    connection.execute(text("RESET lock_timeout"))
