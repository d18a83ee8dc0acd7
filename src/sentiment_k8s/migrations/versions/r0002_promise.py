"""What the log needs beside its rows: corrections, keys, erasures, and indexes to be read by."""

from alembic import op

from sentiment_k8s.migrations.online import create_index, drop_index

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# What a text is found by: its words as they are written, in lower case, in any language. By the
# characters that go first PostgreSQL's parser looks for addresses, hosts, paths and tags, which
# takes it seconds for some texts (65,536 characters of "a_a_a_": 30 s), and a commit with it. Of
# longer texts the beginning, more than most models read: a commit of many long ones stays short.
WORDS = """
CREATE OR REPLACE FUNCTION sentiment_words(text text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN to_tsvector('simple'::regconfig, translate(left(text, 4096), '_~</.@:', '       '))
"""

# The words of 130 characters are most of an insert's cost. They wait in a list that every search
# reads through, and when it is full one commit puts them in their places: of 4 MB, PostgreSQL's
# default, that takes 200 ms, of 1 MB 80 ms. Without a list every row costs twice as much, and with
# one of 256 kB half as much again in a week with many rows as in an empty one.
BY_WORDS = "USING gin (sentiment_words(text)) WITH (gin_pending_list_limit = 1024)"

# Rows of a model that is gone lie behind millions of others; so do rows of a rare score.
BY_MODEL = "(model, created_at, id)"
BY_SCORE = "(score)"

# Counts and mean scores by label over time from the index alone, in a third of the time.
BY_TIME = "(created_at, id) INCLUDE (prediction, score)"

# What people type into a search box, to be matched with the words: `bad -not "so bad"`.
SEARCH = """
CREATE FUNCTION sentiment_search(query text) RETURNS tsquery
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN websearch_to_tsquery('simple'::regconfig, translate(query, '_~</.@:', '       '))
"""

# No foreign key: it would have to look into every partition, and none could be dropped at once.
FEEDBACK = """
CREATE TABLE feedback (
    prediction_id uuid NOT NULL,
    predicted_at timestamptz NOT NULL,
    label text NOT NULL,
    comment text,
    given_at timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now()),
    PRIMARY KEY (predicted_at, prediction_id)
)
"""

IDEMPOTENCY_KEYS = """
CREATE TABLE idempotency_keys (
    key bytea PRIMARY KEY,
    body bytea NOT NULL,
    ids uuid[] NOT NULL,
    expires_at timestamptz NOT NULL
)
"""
BY_EXPIRY = """
CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at)
"""

# The audit of what was erased, which must not hold it: salted digests say whether a row that turns
# up later (in a spool) is one of them. The counts are null until the rows are gone.
ERASURES = """
CREATE TABLE erasures (
    id uuid PRIMARY KEY DEFAULT sentiment_uuidv7(),
    erased_at timestamptz NOT NULL DEFAULT now(),
    what text NOT NULL CHECK (what IN ('text', 'subject')),
    salt bytea NOT NULL,
    digests bytea[] NOT NULL,
    rows bigint,
    feedback bigint
)
"""
BY_ERASURE = """
CREATE INDEX erasures_by_time ON erasures (erased_at)
"""

# A row has its server's time and an erasure PostgreSQL's. Where their clocks differ it is the
# erased row that must not come back, so one of less than a minute later is taken for earlier.
IS_ERASED = """
CREATE FUNCTION sentiment_erased(at timestamptz, kept_text text, subject text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN EXISTS (
    SELECT FROM erasures AS erasure
    WHERE erasure.erased_at >= at - interval '1 minute'
    AND sha256(
        erasure.salt || convert_to(
            CASE erasure.what WHEN 'text' THEN kept_text ELSE subject END, 'UTF8'
        )
    ) = ANY (erasure.digests)
)
"""


def upgrade() -> None:
    op.execute(WORDS.strip())
    create_index("predictions_by_words", BY_WORDS, "sentiment_words_idx")
    create_index("predictions_by_model", BY_MODEL, "model_created_at_id_idx")
    create_index("predictions_by_score", BY_SCORE, "score_idx")
    create_index("predictions_in_time", BY_TIME, "created_at_id_prediction_score_idx")
    drop_index("predictions_by_time")  # the same without the score
    for statement in (
        SEARCH,
        FEEDBACK,
        IDEMPOTENCY_KEYS,
        BY_EXPIRY,
        ERASURES,
        BY_ERASURE,
        IS_ERASED,
    ):
        op.execute(statement.strip())


def downgrade() -> None:
    """There is none: the schema only grows, and older servers work beside this one."""
    raise NotImplementedError("The schema only grows: an older release works on it as it is.")
