import socket
import traceback

import asyncpg
import pytest

from sentiment_k8s.connections import bad_address, place_of, unavailable
from sentiment_k8s.errors import SettingsError


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(111, "Connection refused"),
        TimeoutError(),
        asyncpg.DiskFullError("could not extend file: No space left on device"),
        asyncpg.AdminShutdownError("terminating connection due to administrator command"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        asyncpg.PostgresIOError("could not fsync file"),
        asyncpg.DeadlockDetectedError("deadlock detected"),
        asyncpg.LockNotAvailableError("canceling statement due to lock timeout"),
    ],
)
def test_what_passes_is_unavailable_and_says_when_to_retry(error: Exception) -> None:
    told = unavailable(error)
    assert told
    assert (told.status, told.retry_after) == (503, 1)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(111, "Connect call failed ('10.1.2.3', 5432)"),
        socket.gaierror(-2, "10.1.2.3: Name or service not known"),
        asyncpg.InvalidPasswordError('password authentication failed for user "10.1.2.3"'),
        asyncpg.InvalidCatalogNameError('database "10.1.2.3" does not exist'),
        asyncpg.InsufficientPrivilegeError("permission denied for schema 10.1.2.3"),
        asyncpg.UndefinedTableError('relation "10.1.2.3" does not exist'),
        asyncpg.UndefinedColumnError('column "10.1.2.3" does not exist'),
    ],
)
def test_only_the_operator_is_told_names(error: Exception) -> None:
    assert "10.1.2.3" not in str(unavailable(error))
    assert "db:5432/ai_db" in str(unavailable(error, "db:5432/ai_db"))


def test_the_operator_is_told_postgresqls_own_words() -> None:
    told = unavailable(asyncpg.InsufficientPrivilegeError("permission denied"), "db/ai_db")
    assert "our user may not do this (permission denied)" in str(told)


@pytest.mark.parametrize(
    "error", [asyncpg.DatatypeMismatchError("x"), asyncpg.PostgresSyntaxError("x"), ValueError()]
)
def test_what_does_not_pass_is_a_bug(error: Exception) -> None:
    assert unavailable(error) is None


def test_the_place_has_neither_user_nor_password() -> None:
    assert place_of("postgresql://user:p%40ss@db:5432/ai_db?x=y") == "db:5432/ai_db"


@pytest.mark.parametrize(
    ("dsn", "place"),
    [
        ("postgres://db", "db"),
        ("postgresql:///ai_db", "the default address/ai_db"),
        ("postgresql://user@[::1]:5432/ai_db", "[::1]:5432/ai_db"),
        ("postgresql://one:1,two:2/ai_db?target_session_attrs=primary", "one:1,two:2/ai_db"),
    ],
)
def test_every_kind_of_address_has_a_place(dsn: str, place: str) -> None:
    assert place_of(dsn) == place


@pytest.mark.parametrize(
    "rest",
    [
        "user:hush/hush@db/ai_db",
        "user:12/hush@db/ai_db",
        "user:hush#hush@db/ai_db",
        "user:hush?hush@db/ai_db",
        "user:hush@hush@db/ai_db",
        "user:hush[hush@db/ai_db",
        "user:hush/ai_db",
        "user:hush\u2100hush@db/ai_db",
        "user@db/ai_db?password=hush&hush",
        "user@db:123456/hush",
    ],
)
def test_an_address_whose_password_has_no_clear_end_is_refused_and_not_repeated(rest: str) -> None:
    with pytest.raises(SettingsError, match="percent-encode") as raised:
        place_of(f"postgresql://{rest}")
    assert "hush" not in "".join(traceback.format_exception(raised.value))


def test_a_parameter_that_cannot_be_is_told() -> None:
    error = asyncpg.exceptions.ClientConfigurationError("`sslmode` parameter must be one of: ...")
    assert "`sslmode` parameter" in str(bad_address(error))


def test_what_the_operator_is_told_has_no_part_of_a_row() -> None:
    fields = {"S": "ERROR", "C": "53100", "M": "disk full", "D": "Row (my words)", "H": "my words"}
    error = asyncpg.PostgresError.new(fields)
    assert "my words" in str(error)
    told = unavailable(error, "db:5432/ai")
    assert told
    assert "disk full" in told.message
    assert "my words" not in told.message
