"""The command line as a user meets it: in a process of its own."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sentiment_k8s.settings import Settings, flag_name

from .postgres_fixtures import execute, run
from .serving import environment, running_server


def sentiment(
    *arguments: str, stdin: str = "", **variables: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "sentiment_k8s", *arguments],
        env=environment(variables),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )


def sentence_of(done: "subprocess.CompletedProcess[str]", code: int) -> str:
    """Check that a command failed with one sentence and return it."""
    assert done.returncode == code, done.stderr
    *logged, line = done.stderr.splitlines()
    assert all(entry.startswith("{") for entry in logged)
    return line


@pytest.mark.parametrize(
    "command",
    [
        "",
        "serve",
        "classify",
        "model",
        "model show",
        "model pull",
        "model export",
        "db",
        "db upgrade",
        "db prune",
        "db erase",
        "spool",
        "spool show",
        "spool drain",
        "settings",
    ],
)
def test_every_command_has_help(command: str) -> None:
    done = sentiment(*command.split(), "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: sentiment")


def test_every_setting_is_a_flag_of_serve() -> None:
    text = sentiment("serve", "--help").stdout
    assert all(flag_name(field) in text for field in Settings.model_fields)


def test_settings_lists_them_all() -> None:
    text = sentiment("settings").stdout
    assert "`DATABASE_URL`" in text
    assert text.count("\n") == len(Settings.model_fields) + 2


def test_a_wrong_value_is_one_sentence_that_names_the_setting() -> None:
    done = sentiment("serve", SENTIMENT_PORT="eighty")
    assert "SENTIMENT_PORT (--port)" in sentence_of(done, 1)


def test_an_unknown_variable_is_refused_by_name() -> None:
    assert "SENTIMENT_PROT" in sentence_of(sentiment("serve", SENTIMENT_PROT="80"), 1)


def test_a_database_url_that_is_none_is_one_sentence() -> None:
    done = sentiment("serve", "--port", "0", DATABASE_URL="nonsense")
    assert "DATABASE_URL" in sentence_of(done, 1)


def test_a_model_folder_that_is_not_there_is_one_sentence() -> None:
    done = sentiment("serve", "--model", "/no/such/folder", "--record", "off", "--port", "0")
    assert "/no/such/folder does not exist" in sentence_of(done, 1)


def test_model_show_says_what_the_bundled_model_is() -> None:
    done = sentiment("model", "show")
    assert done.returncode == 0
    said = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert said["id"] == "bundled"
    assert said["precision"] == "int8"
    assert said["engine"]
    assert said["labels"] == "NEGATIVE, POSITIVE"


def test_db_prune_says_what_it_dropped(database_dsn: str) -> None:
    done = sentiment("db", "prune", "--keep", "12w", DATABASE_URL=database_dsn)
    assert done.stdout.startswith("Dropped 0 weeks, 0 rows of other times, 0 corrections and 0")


def test_db_prune_wants_days_or_weeks() -> None:
    done = sentiment("db", "prune", "--keep", "3 months")
    assert done.returncode == 2
    assert "90d (days) or 12w (weeks)" in done.stderr


def test_db_erase_takes_a_text_from_standard_input(database_dsn: str) -> None:
    book = "INSERT INTO predictions (text, subject) VALUES ('I love AI!', 'ann'), ('Bye', 'ann')"
    run(execute(database_dsn, book))
    done = sentiment("db", "erase", "--text", "-", stdin="I love AI!\n", DATABASE_URL=database_dsn)
    assert done.stdout.startswith("Erased 1 rows")
    done = sentiment("db", "erase", "--subject", "ann", DATABASE_URL=database_dsn)
    assert done.stdout.startswith("Erased 1 rows")


@pytest.mark.parametrize("given", ["", "\n", "a\0b"])
def test_db_erase_refuses_what_no_row_can_have(given: str) -> None:
    done = sentiment("db", "erase", "--text", "-", stdin=given)
    assert "no row can have it" in sentence_of(done, 2)


def test_db_erase_wants_one_thing() -> None:
    assert sentiment("db", "erase").returncode == 2
    assert sentiment("db", "erase", "--text", "a", "--subject", "b").returncode == 2


def test_the_embedded_log_is_looked_after_too(data_dir: Path) -> None:
    done = sentiment("db", "erase", "--subject", "ann", "--data-dir", str(data_dir))
    assert done.stdout.startswith("Erased 0 rows"), done.stderr
    with running_server(data_dir):
        done = sentiment("db", "prune", "--keep", "90d", "--data-dir", str(data_dir))
        assert done.stdout.startswith("Dropped 0 weeks"), done.stderr


def test_without_any_log_there_is_nothing_to_look_after(tmp_path: Path) -> None:
    done = sentiment("db", "prune", "--keep", "90d", "--data-dir", str(tmp_path))
    assert "there is no embedded log" in sentence_of(done, 1)


def test_db_upgrade_without_a_database_says_so() -> None:
    assert "DATABASE_URL is not set" in sentence_of(sentiment("db", "upgrade"), 1)


def test_db_upgrade_says_that_nobody_is_there() -> None:
    unreachable = "postgresql://user:secret@127.0.0.1:1/ai_db"
    sentence = sentence_of(sentiment("db", "upgrade", DATABASE_URL=unreachable), 1)
    assert "127.0.0.1:1/ai_db" in sentence
    assert "secret" not in sentence


def test_standard_input_is_classified_line_by_line() -> None:
    done = sentiment("classify", "-", stdin="I love AI!\nwhat a waste of time\n")
    assert done.returncode == 0, done.stderr
    labels = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert labels == ["POSITIVE", "NEGATIVE"]


def test_a_csv_file_keeps_its_columns_and_gains_predictions(tmp_path: Path) -> None:
    source, target = tmp_path / "reviews.csv", tmp_path / "classified.csv"
    source.write_text('id,review\n1,"great, really"\n2,awful\n3,\n')
    done = sentiment("classify", str(source), "--column", "review", "-o", str(target))
    assert done.returncode == 1
    assert "1 row could not be classified" in done.stderr
    with target.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == ["1", "2", "3"]
    assert [row["prediction"] for row in rows] == ["POSITIVE", "NEGATIVE", ""]


def test_a_bad_row_does_not_spoil_its_neighbours(tmp_path: Path) -> None:
    source = tmp_path / "texts.jsonl"
    texts = ["fine film", "a\0b", " ", "dreadful film"]
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    done = sentiment("classify", str(source))
    assert done.returncode == 1
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["prediction"] for row in rows] == ["POSITIVE", None, None, "NEGATIVE"]
    assert "NUL" in rows[1]["error"]
    assert "blank" in rows[2]["error"] or "empty" in rows[2]["error"]


def test_recorded_answers_are_in_the_log(data_dir: Path) -> None:
    arguments = ["classify", "-", "--record", "--data-dir", str(data_dir)]
    for _ in range(2):  # the second finds the first's database
        assert sentiment(*arguments, stdin="remember this\n").returncode == 0
    from sentiment_k8s.postgres import EmbeddedPostgres

    with EmbeddedPostgres(data_dir) as postgres:
        assert texts_in(postgres.start()) == ["remember this", "remember this"]


def test_wrong_usage_exits_with_2() -> None:
    assert sentiment("classify").returncode == 2
    assert sentiment("serve", "--colour", "red").returncode == 2


def texts_in(dsn: str) -> list[str]:
    import asyncio

    import asyncpg

    async def fetch() -> list[str]:
        connection = await asyncpg.connect(dsn)
        try:
            return [row["text"] for row in await connection.fetch("SELECT text FROM predictions")]
        finally:
            await connection.close()

    return asyncio.run(fetch())


def test_a_spool_is_shown_in_four_lines(tmp_path: Path) -> None:
    shown = sentiment("spool", "show", str(tmp_path)).stdout.splitlines()
    assert [line.split() for line in shown] == [
        ["rows", "0"],
        ["bytes", "0"],
        ["oldest", "-"],
        ["damaged", "0"],
    ]


def test_a_spool_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    assert nowhere in sentence_of(sentiment("spool", "show", nowhere), 1)
    drained = sentiment("spool", "drain", nowhere, DATABASE_URL="postgresql://127.0.0.1:1/ai_db")
    assert nowhere in sentence_of(drained, 1)


def test_a_spool_is_drained_into_a_database_that_is_named(tmp_path: Path) -> None:
    assert "DATABASE_URL" in sentence_of(sentiment("spool", "drain", str(tmp_path)), 1)
