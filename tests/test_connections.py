import asyncpg
import pytest

from sentiment_k8s.connections import place_of, unavailable


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
    told = unavailable(error, "db:5432/ai_db")
    assert told
    assert (told.status, told.retry_after) == (503, 1)
    assert "db:5432/ai_db" in told.message


@pytest.mark.parametrize(
    "error", [asyncpg.UndefinedColumnError("x"), asyncpg.PostgresSyntaxError("x"), ValueError()]
)
def test_what_does_not_pass_is_a_bug(error: Exception) -> None:
    assert unavailable(error, "db:5432/ai_db") is None


def test_the_place_has_neither_user_nor_password() -> None:
    assert place_of("postgresql://user:p%40ss@db:5432/ai_db?x=y") == "db:5432/ai_db"
