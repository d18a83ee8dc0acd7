"""Connections to PostgreSQL, and what its errors mean for whoever waits for an answer."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlsplit

import asyncpg

from .errors import DatabaseUnavailable, SettingsError

Result = TypeVar("Result")
Connection = asyncpg.Connection
Work = Callable[[Connection], Awaitable[Result]]

RETRY_AFTER_SECONDS = 1
# PostgreSQL itself ends what takes too long, so that no session stays behind waiting for a lock.
# We give up by ourselves only when we hear nothing from it.
SILENCE_SECONDS = 0.5

# What PostgreSQL says of a value that it cannot hold.
UNFIT = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)

# What a call ends with when its connection is lost.
LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)

# What PostgreSQL says, or does not say, when trying later is right.
AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.TransactionRollbackError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresSystemError,
    asyncpg.InternalServerError,
    asyncpg.exceptions.TargetServerAttributeNotMatched,
)


class ConnectionLost(ConnectionError):
    """A connection that had been there is gone; perhaps since long before it was used."""


class Pool:
    """A few connections, each made when it is needed and thrown away when anything went wrong.

    Cheaper than asyncpg's own pool, which resets a session after each use and so doubles the
    round trips: we leave nothing behind in a session.

    Args:
        dsn: the database.
        size: connections, at most.
        connect_seconds: time to get one, whether it is free or has to be made.
        statement_seconds: time for a statement.
        prepare: what else is done on each new connection.
    """

    def __init__(
        self,
        dsn: str,
        size: int,
        connect_seconds: float,
        statement_seconds: float,
        prepare: Work[None] | None = None,
    ) -> None:
        self._dsn = dsn
        self._connect_seconds = connect_seconds
        self._statement_seconds = statement_seconds
        self._prepare = prepare
        self._free = asyncio.Semaphore(size)
        self._idle: list[Connection] = []

    async def run(self, work: Work[Result]) -> Result:
        """Do something on a connection.

        Raises:
            ConnectionLost: the connection went away; doing it again may work.
            Exception: whatever asyncpg raised; `unavailable` knows what it means.
        """
        async with asyncio.timeout(self._connect_seconds):
            await self._free.acquire()
        try:
            connection = self._still_open() or await self._connect()
            try:
                result = await work(connection)
            except BaseException as error:
                self._after(error, connection)
                raise
            self._idle.append(connection)
            return result
        finally:
            self._free.release()

    def close(self) -> None:
        """Give the idle connections back."""
        while self._idle:
            self._idle.pop().terminate()

    def _still_open(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    async def _connect(self) -> Connection:
        async with asyncio.timeout(self._connect_seconds):
            try:
                connection = await asyncpg.connect(
                    self._dsn,
                    command_timeout=self._statement_seconds + SILENCE_SECONDS,
                    server_settings={"application_name": "sentiment"},
                )
            except asyncpg.exceptions.ClientConfigurationError as error:
                raise bad_address(error) from error
            try:
                await connection.execute(
                    f"SET statement_timeout = {round(self._statement_seconds * 1000)}"
                )
                if self._prepare is not None:
                    await self._prepare(connection)
            except BaseException:
                connection.terminate()
                raise
        return connection

    def _after(self, error: BaseException, connection: Connection) -> None:
        if isinstance(error, UNFIT):
            self._idle.append(connection)
            return
        lost = connection.is_closed()
        # Its state is unknown, or it leads to a server that is going down or has become a standby:
        # the next one may lead to a better one.
        connection.terminate()
        if lost and isinstance(error, LOST):
            raise ConnectionLost(str(error)) from error


def unavailable(error: BaseException, place: str) -> DatabaseUnavailable | None:
    """What to tell of an error if it means that PostgreSQL cannot serve now; None if it is a bug.

    Args:
        error: what asyncpg raised.
        place: the database, for the message.
    """
    if isinstance(error, asyncpg.UndefinedTableError | asyncpg.UndefinedFunctionError):
        message = f"The database at {place} lacks our tables: run `sentiment db upgrade`."
        return DatabaseUnavailable(message, retry_after=RETRY_AFTER_SECONDS)
    if isinstance(error, TimeoutError | asyncpg.QueryCanceledError):
        reason = "it does not answer in time"
    elif isinstance(error, AWAY):
        reason = str(error) or type(error).__name__
    else:
        return None
    return DatabaseUnavailable(
        f"PostgreSQL at {place} is not available: {reason}. Retry later.",
        retry_after=RETRY_AFTER_SECONDS,
    )


def place_of(dsn: str) -> str:
    """Host, port and database of an address, without user and password."""
    parts = urlsplit(dsn)
    return (parts.netloc.rpartition("@")[2] or "the default address") + parts.path


def bad_address(error: Exception) -> SettingsError:
    """What to tell of an address that asyncpg cannot read."""
    return SettingsError(f"DATABASE_URL is not a PostgreSQL address: {error}.")
