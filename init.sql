-- The whole schema, for people who make the database by hand:
--
--     psql -v ON_ERROR_STOP=1 -d ai_db -f init.sql
--
-- Generated from src/sentiment_k8s/migrations by `make generate`: change a migration, not this
-- file. Servers bring the database up to date themselves (`sentiment db upgrade`).

BEGIN;

CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> 0001

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
)::uuid;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('predictions') AND relkind = 'r') THEN
        ALTER TABLE predictions RENAME TO predictions_book;
        ALTER INDEX IF EXISTS predictions_pkey RENAME TO predictions_book_pkey;
    END IF;
END
$$;

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
) PARTITION BY RANGE (created_at);

CREATE INDEX predictions_by_time ON predictions (created_at, id) INCLUDE (prediction);

CREATE INDEX predictions_by_label ON predictions (prediction, created_at, id);

CREATE TABLE predictions_default PARTITION OF predictions DEFAULT;

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
$$;

SELECT sentiment_ensure_partitions();

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
$$;

INSERT INTO alembic_version (version_num) VALUES ('0001') RETURNING alembic_version.version_num;

-- Running upgrade 0001 -> 0002

CREATE OR REPLACE FUNCTION sentiment_words(text text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN to_tsvector('simple'::regconfig, translate(left(text, 4096), '_~</.@:', '       '));

CREATE INDEX predictions_by_words ON predictions USING gin (sentiment_words(text)) WITH (gin_pending_list_limit = 1024);

CREATE INDEX predictions_by_model ON predictions (model, created_at, id);

CREATE INDEX predictions_by_score ON predictions (score);

CREATE INDEX predictions_in_time ON predictions (created_at, id) INCLUDE (prediction, score);

DROP INDEX predictions_by_time;

CREATE FUNCTION sentiment_search(query text) RETURNS tsquery
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN websearch_to_tsquery('simple'::regconfig, translate(query, '_~</.@:', '       '));

CREATE TABLE feedback (
    prediction_id uuid NOT NULL,
    predicted_at timestamptz NOT NULL,
    label text NOT NULL,
    comment text,
    given_at timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now()),
    PRIMARY KEY (predicted_at, prediction_id)
);

CREATE TABLE idempotency_keys (
    key bytea PRIMARY KEY,
    body bytea NOT NULL,
    ids uuid[] NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);

CREATE TABLE erasures (
    id uuid PRIMARY KEY DEFAULT sentiment_uuidv7(),
    erased_at timestamptz NOT NULL DEFAULT now(),
    what text NOT NULL CHECK (what IN ('text', 'subject')),
    salt bytea NOT NULL,
    digests bytea[] NOT NULL,
    rows bigint,
    feedback bigint
);

CREATE INDEX erasures_by_time ON erasures (erased_at);

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
);

UPDATE alembic_version SET version_num='0002' WHERE alembic_version.version_num = '0001';

-- Running upgrade 0002 -> 0003

ALTER TABLE predictions ADD COLUMN engine text;

UPDATE alembic_version SET version_num='0003' WHERE alembic_version.version_num = '0002';

COMMIT;
