"""What leaves a request: rows in the log's mode, and no text in anything that the server writes."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sentiment_k8s.postgres import EmbeddedPostgres

from ..postgres_fixtures import execute, fetch, run
from ..serving import RunningServer, running_server

KEY = "a key of sixteen characters"
# Recognisable in whatever form it is written.
WORD = "Xylophagous"
TEXT = f"{WORD} joe@example.com paid with 4111 1111 1111 1111"
DIGEST = "hmac-sha256:" + hmac.new(KEY.encode(), TEXT.encode(), hashlib.sha256).hexdigest()
KEPT = {
    "full": TEXT,
    "redacted": f"{WORD} [email] paid with [card]",
    "hash": DIGEST,
}


@pytest.fixture(params=KEPT)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def talkative(mode: str, postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[RunningServer]:
    """A server that logs all that it can, on a PostgreSQL that the test may stop."""
    with running_server(
        tmp_path / "server",
        "--log-level=debug",
        "--access-log=all",
        f"--record-text={mode}",
        "--spool=strict",
        "--max-body-bytes=65536",
        DATABASE_URL=postgres.start(),
        SENTIMENT_TEXT_KEY=KEY,
        PYTHONASYNCIODEBUG="1",
    ) as server:
        yield server


def test_the_answer_has_the_text_and_the_log_has_what_the_mode_keeps(
    mode: str, talkative: RunningServer, postgres: EmbeddedPostgres
) -> None:
    with httpx.Client(base_url=talkative.url, timeout=30) as client:
        key = {"Idempotency-Key": WORD}
        for headers in ({}, key, key):
            answer = client.post("/predict", json={"text": TEXT}, headers=headers).json()
            assert answer["text"] == TEXT
            assert client.get(f"/predictions/{answer['id']}").json()["text"] == KEPT[mode]
        assert client.get("/predict", params={"text": TEXT}).json()["text"] == TEXT
    rows = run(fetch(postgres.start(), "SELECT text FROM predictions"))
    assert [row["text"] for row in rows] == [KEPT[mode]] * 3
    [held] = run(
        fetch(postgres.start(), "SELECT idempotency_keys::text AS key FROM idempotency_keys")
    )
    assert WORD not in held["key"]
    assert WORD.encode().hex() not in held["key"]


def test_no_text_is_in_the_servers_log_whatever_goes_wrong(
    talkative: RunningServer, postgres: EmbeddedPostgres
) -> None:
    with httpx.Client(base_url=talkative.url, timeout=30) as client:
        ask(client)
        # A row that PostgreSQL refuses, quoting it in its answer.
        strict = f"ALTER TABLE predictions ADD CHECK (subject <> '{WORD}') NOT VALID"
        run(execute(postgres.start(), strict))
        assert client.post("/predict", json={"text": TEXT, "subject": WORD}).status_code == 400
        # A commit that fails as a whole, with the row in what PostgreSQL says of it.
        run(execute(postgres.start(), *FAILING_COMMITS))
        assert client.post("/predict", json={"text": TEXT}).status_code == 503
        key = {"Idempotency-Key": WORD + "2"}
        assert client.post("/predict", json={"text": TEXT}, headers=key).status_code == 503
        postgres.stop()
        assert client.post("/predict", json={"text": TEXT}).status_code == 503
        ask(client)
    talkative.stop()
    written = json.dumps(talkative.log, ensure_ascii=False) + postgres.log.read_text()
    assert "disk" in written  # PostgreSQL's own words are there, for the operator
    # Eight digits of the card: four are in the number of some port or process too.
    for secret in (WORD, "joe@", "4111 1111", DIGEST):
        assert secret not in written


FAILING_COMMITS = (
    "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " RAISE 'no space left on disk' USING ERRCODE = 'disk_full', DETAIL = NEW.text,"
    " HINT = NEW.text; END $$",
    "CREATE TRIGGER full_disk BEFORE INSERT ON predictions"
    " FOR EACH ROW EXECUTE FUNCTION full_disk()",
)


def ask(client: httpx.Client) -> None:
    """Send the text in every way that comes to mind, most of them wrong."""
    client.post("/predict", json={"text": TEXT, "subject": WORD})
    client.post("/predict", json={"text": TEXT}, headers={"Idempotency-Key": WORD})
    client.post("/predict", json={"text": TEXT + "!"}, headers={"Idempotency-Key": WORD})
    client.post("/predict", json={"text": TEXT + "\0"})
    client.post("/predict", json={"texts": [TEXT, 7], WORD: TEXT})
    client.post("/predict", json={"text": TEXT * 1000, "truncate": False})
    client.post("/predict", json={"text": TEXT * 2000})
    client.post("/predict", content=TEXT)
    client.post("/predict", json={"inputs": TEXT, "parameters": {"top_k": TEXT}})
    client.post("/", json={"inputs": TEXT})
    client.get("/predict", params={"text": TEXT})
    client.get("/predict", params={WORD: TEXT})
    client.get(f"/{WORD}", params={"text": TEXT})
    client.get("/predictions", params={"text": TEXT, "cursor": WORD})
    client.get(f"/predictions/{WORD}")
    client.delete(f"/predict/{WORD}")
    client.get("/health", headers={"X-Request-ID": TEXT, "User-Agent": TEXT, "Cookie": TEXT})
