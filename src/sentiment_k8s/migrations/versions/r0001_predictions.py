"""The log of predictions.

The table keeps the four columns of the book's first one, each with a default, and takes over the
rows of that table where there is one.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# PostgreSQL has uuidv7() only since 18. A version 4 UUID has the bits 0100 where version 7 has
# 0111: two bits to set, and the first 48 bits are the time.
UUIDV7 = """
CREATE FUNCTION sentiment_uuidv7(at timestamptz DEFAULT now()) RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN encode(
    set_bit(
        set_bit(
            overlay(
                uuid_send(gen_random_uuid())
                PLACING substring(int8send(floor(extract(epoch FROM at) * 1000)::bigint) FROM 3)
                FROM 1 FOR 6
            ),
            52, 1
        ),
        53, 1
    ),
    'hex'
)::uuid
"""

# The name of a primary key's index stays with the renamed table unless it is renamed too.
SET_ASIDE_THE_BOOKS_TABLE = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('predictions') AND relkind = 'r') THEN
        ALTER TABLE predictions RENAME TO predictions_book;
        ALTER INDEX IF EXISTS predictions_pkey RENAME TO predictions_book_pkey;
    END IF;
END
$$
"""

PREDICTIONS = """
CREATE TABLE predictions (
    id uuid NOT NULL DEFAULT sentiment_uuidv7(),
    text text NOT NULL,
    prediction text,
    created_at timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now()),
    score double precision,
    scores jsonb,
    model text,
    revision text,
    "precision" text,
    tokens integer,
    truncated boolean,
    queue_seconds double precision,
    inference_seconds double precision,
    request_id text,
    subject text,
    PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at)
"""

# Newest first, and counts by label over time from the index alone.
BY_TIME = """
CREATE INDEX predictions_by_time ON predictions (created_at, id) INCLUDE (prediction)
"""

# Newest first of one label, which may be rare.
BY_LABEL = """
CREATE INDEX predictions_by_label ON predictions (prediction, created_at, id)
"""

# Takes what no week takes, so that an insert never fails.
OTHER_TIMES = """
CREATE TABLE predictions_default PARTITION OF predictions DEFAULT
"""

# A week a partition: 90 days are 14 tables, and old rows go by dropping a table. Rows that already
# lie in the default partition (the weeks were not made in time) move into their week. Writers of
# other weeks are not blocked: ATTACH wants less from the parent than CREATE ... PARTITION OF.
ENSURE_PARTITIONS = """
CREATE FUNCTION sentiment_ensure_partitions(weeks_ahead integer DEFAULT 4) RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET timezone = 'UTC'
SET lock_timeout = '2s'
AS $$
DECLARE
    week timestamptz;
    part text;
    made integer := 0;
BEGIN
    FOR week IN
        SELECT generate_series(
            date_trunc('week', now()), now() + weeks_ahead * interval '1 week', interval '1 week'
        )
    LOOP
        part := 'predictions_' || to_char(week, 'YYYYMMDD');
        CONTINUE WHEN to_regclass(part) IS NOT NULL;
        LOCK TABLE predictions_default IN ACCESS EXCLUSIVE MODE;
        CONTINUE WHEN to_regclass(part) IS NOT NULL; -- another session was faster
        EXECUTE format('CREATE TABLE %I (LIKE predictions INCLUDING ALL)', part);
        EXECUTE format(
            'WITH moved AS (
                DELETE FROM predictions_default WHERE created_at >= %L AND created_at < %L
                RETURNING *
            ) INSERT INTO %I SELECT * FROM moved',
            week, week + interval '1 week', part
        );
        EXECUTE format(
            'ALTER TABLE predictions ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            part, week, week + interval '1 week'
        );
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$
"""

# The book's created_at has no time zone: it is the server's, as CURRENT_TIMESTAMP wrote it. The old
# table goes in the same transaction, so that no second copy of people's words stays behind where
# nobody prunes it; its numbers live on in request_id.
TAKE_OVER_THE_BOOKS_ROWS = """
DO $$
BEGIN
    IF to_regclass('predictions_book') IS NOT NULL THEN
        INSERT INTO predictions (id, text, prediction, created_at, request_id)
        SELECT sentiment_uuidv7(at), text, prediction, at, 'book-' || id
        FROM (
            SELECT id, text, prediction, date_trunc(
                'milliseconds',
                CASE WHEN isfinite(created_at) THEN created_at::timestamptz ELSE now() END
            ) AS at
            FROM predictions_book
        ) AS book;
        DROP TABLE predictions_book;
    END IF;
END
$$
"""


def upgrade() -> None:
    for statement in (
        UUIDV7,
        SET_ASIDE_THE_BOOKS_TABLE,
        PREDICTIONS,
        BY_TIME,
        BY_LABEL,
        OTHER_TIMES,
        ENSURE_PARTITIONS,
        "SELECT sentiment_ensure_partitions()",
        TAKE_OVER_THE_BOOKS_ROWS,
    ):
        op.execute(statement.strip())


def downgrade() -> None:
    """There is none: a log is not thrown away by a schema change."""
    raise NotImplementedError("The first migration cannot be undone; drop the database instead.")
