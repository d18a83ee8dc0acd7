"""Connections to PostgreSQL, and what its errors mean for whoever waits for an answer."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

import asyncpg

from .errors import DatabaseUnavailable, Overloaded, SettingsError

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
LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

# Where our tables are missing, or lack what newer releases added: nobody has upgraded them yet, or
# they are gone, or those of an older backup.
NO_TABLES = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedColumnError,
)

# What PostgreSQL says, or does not say, when trying later is right, and what callers are told of
# it: its own words name hosts, users and databases. The first that fits counts.
AWAY = {
    TimeoutError: "it does not answer in time",
    asyncpg.QueryCanceledError: "it does not answer in time",
    asyncpg.InvalidAuthorizationSpecificationError: "it refuses our user or password",
    asyncpg.InvalidCatalogNameError: "it has no such database",
    asyncpg.InsufficientPrivilegeError: "our user may not do this",
    asyncpg.ReadOnlySQLTransactionError: "it is read-only",
    asyncpg.exceptions.TargetServerAttributeNotMatched: "it is not the kind of server we asked for",
    asyncpg.InsufficientResourcesError: "it is out of connections, memory or disk space",
    asyncpg.TransactionRollbackError: "others are in the way",
    asyncpg.ObjectNotInPrerequisiteStateError: "others are in the way",
    asyncpg.OperatorInterventionError: "it is starting or stopping",
    asyncpg.PostgresConnectionError: "it cannot be reached",
    OSError: "it cannot be reached",
    asyncpg.PostgresSystemError: "its machine has a fault",
    asyncpg.InternalServerError: "it has a fault",
}

# A host or an IPv6 address in brackets, and a port.
HOST = re.compile(r"(\[[^\[\]]+\]|[^:\[\]]+)(:[0-9]{0,5})?")


class ConnectionLost(ConnectionError):
    """A connection that had been there is gone; perhaps since long before it was used."""


class Pool:
    """A few connections, each made when it is needed and thrown away when anything went wrong.

    Cheaper than asyncpg's own pool, which resets a session after each use and so doubles the
    round trips: we leave nothing behind in a session.

    Args:
        purpose: what becomes of rows on them, for the log: "written" or "read".
        dsn: the database.
        size: connections, at most.
        connect_seconds: time to wait for one that is free, and time to make one.
        statement_seconds: time for a statement.
        prepare: what else is done on each new connection.

    Attributes:
        reached: whether PostgreSQL could do what it was last asked; None before the first time.
    """

    reached: bool | None = None

    def __init__(
        self,
        purpose: str,
        dsn: str,
        size: int,
        connect_seconds: float,
        statement_seconds: float,
        prepare: Work[None] | None = None,
    ) -> None:
        self.purpose = purpose
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
            Overloaded: others use all connections.
            Exception: whatever asyncpg raised; `unavailable` knows what it means.
        """
        await self._wait_for_a_free_one()
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

    async def _wait_for_a_free_one(self) -> None:
        try:
            # A timer costs more than taking a connection that is free.
            async with asyncio.timeout(self._connect_seconds if self._free.locked() else None):
                await self._free.acquire()
        except TimeoutError:
            raise Overloaded(
                "All connections to PostgreSQL are busy: retry in a second.",
                retry_after=RETRY_AFTER_SECONDS,
            ) from None

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
            except ValueError as error:
                raise bad_address(error) from None
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
        # asyncpg stumbles over a farewell that came while nothing was asked (PostgreSQL stops), and
        # takes the connection for open until the socket closes too.
        lost = connection.is_closed() or isinstance(error, asyncpg.InternalClientError)
        # Its state is unknown, or it leads to a server that is going down or has become a standby:
        # the next one may lead to a better one.
        connection.terminate()
        if lost and isinstance(error, LOST):
            raise ConnectionLost(words_of(error)) from error


def unavailable(error: BaseException, place: str | None = None) -> DatabaseUnavailable | None:
    """What to tell of an error if it means that PostgreSQL cannot serve now; None if it is a bug.

    Args:
        error: what asyncpg raised.
        place: the database and with it PostgreSQL's own words, for the operator; without it the
            message is fit for anybody.
    """
    at_place = f" at {place}" if place else ""
    if isinstance(error, NO_TABLES):
        message = f"The database{at_place} lacks tables or columns: run `sentiment db upgrade`."
        return DatabaseUnavailable(message, retry_after=RETRY_AFTER_SECONDS)
    reason = next((AWAY[kind] for kind in AWAY if isinstance(error, kind)), None)
    if reason is None:
        return None
    if place and (words := words_of(error)):
        reason += f" ({words})"
    return DatabaseUnavailable(
        f"PostgreSQL{at_place} is not available: {reason}. Retry later.",
        retry_after=RETRY_AFTER_SECONDS,
    )


def words_of(error: BaseException) -> str:
    """What an error says, for the operator, without the DETAIL that PostgreSQL may add: parts of a
    row, which are people's words."""
    if isinstance(error, asyncpg.PostgresError) and error.args:
        return str(error.args[0])
    return str(error)


def place_of(dsn: str) -> str:
    """Host, port and database of an address, without user and password.

    Raises:
        SettingsError: it is not clear where the password ends. Nothing of the address is repeated.
    """
    try:
        parts = urlsplit(dsn)
        if parts.query:
            parse_qs(parts.query, strict_parsing=True)
    except ValueError as error:
        raise bad_address(error) from None
    user, _, hosts = parts.netloc.rpartition("@")
    clear = (
        parts.scheme in ("postgresql", "postgres")
        and not parts.fragment
        and "@" not in user + parts.path + parts.query
        and (not hosts or all(HOST.fullmatch(host) for host in hosts.split(",")))
    )
    if not clear:
        raise bad_address()
    return (hosts or "the default address") + parts.path


def bad_address(error: ValueError | None = None) -> SettingsError:
    """What to tell of an address that cannot be read, without repeating any of it."""
    hint = "percent-encode / # ? @ in the password, and check the port"
    if isinstance(error, asyncpg.exceptions.ClientConfigurationError):
        hint = str(error)  # about a parameter: `place_of` has found the rest of it clear
    return SettingsError(
        "DATABASE_URL is not a PostgreSQL address (postgresql://user:password@host:5432/database): "
        f"{hint}."
    )
