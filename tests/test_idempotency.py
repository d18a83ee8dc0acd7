import asyncio
import multiprocessing
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace

import asyncpg
import pytest

from sentiment_k8s.database import Database
from sentiment_k8s.errors import (
    DatabaseUnavailable,
    DeadlineExceeded,
    InferenceError,
    KeyReused,
    RequestError,
    RowsRefused,
)
from sentiment_k8s.idempotency import Keys, Record, request_key
from sentiment_k8s.keyed_rows import (
    HELD_ROWS,
    KEYS_A_DELETE,
    Claim,
    Claims,
    KeyTaken,
    delete_expired,
)
from sentiment_k8s.metrics import Metrics
from sentiment_k8s.records import PredictionRow
from sentiment_k8s.testing import example_row

from .log_rows import plan, texts
from .postgres_fixtures import execute, fetch, run

LABELS = ["POSITIVE", "NEGATIVE"]
KEY = request_key(["order-4711"], b"body")
OTHER_BODY = request_key(["order-4711"], b"another body")


@pytest.fixture
async def make_keys(database_dsn: str) -> AsyncIterator[Callable[..., Keys]]:
    """Makes the keys of one more server on the test's database."""
    databases = []

    def make(**options: float) -> Keys:
        databases.append(Database(database_dsn))
        return Keys(databases[-1], Metrics(), LABELS, **options)  # type: ignore[arg-type]

    yield make
    for database in databases:
        await database.close()


@pytest.fixture
def keys(make_keys: Callable[..., Keys]) -> Keys:
    return make_keys()


@pytest.fixture
async def database(database_dsn: str) -> AsyncIterator[Database]:
    database = Database(database_dsn)
    yield database
    await database.close()


class Computation:
    """Makes a row of each text, once it is released, and counts how often it was asked."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts or ("I love AI!",)
        self.asked = 0
        self.failure: Exception | None = None
        self.under_way = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, record: Record) -> list[PredictionRow]:
        self.asked += 1
        self.under_way.set()
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        rows = [example_row(text) for text in self.texts]
        await record(rows)
        return rows


def without_texts(rows: list[PredictionRow]) -> list[PredictionRow]:
    """Rows as they come back from the log."""
    return [replace(row, text="") for row in rows]


async def count(dsn: str, table: str) -> int:
    [row] = await fetch(dsn, f"SELECT count(*) FROM {table}")
    number: int = row["count"]
    return number


async def until_a_session_waits(dsn: str) -> None:
    """Return once a session of this database waits for another one."""
    waits = (
        "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname ="
        " current_database()"
    )
    while not await fetch(dsn, waits):  # noqa: ASYNC110 - a lock wakes nobody
        await asyncio.sleep(0.01)


# The header


@pytest.mark.parametrize("value", ["a", "~" * 255, '"8e03978e-40d5-43e8-bc93-6894a57f9324"', "!,;"])
def test_visible_ascii_is_a_key(value: str) -> None:
    assert len(request_key([value], b"").key) == 32


@pytest.mark.parametrize(
    "values", [[""], [" "], ["a b"], ["x" * 256], ["é"], ["a\tb"], ["a", "a"], ["a\n"]]
)
def test_anything_else_is_refused_without_being_repeated(values: list[str]) -> None:
    with pytest.raises(RequestError, match="1 to 255 visible ASCII characters, once") as refused:
        request_key(values, b"")
    assert type(refused.value) is RequestError


def test_what_is_kept_of_a_key_tells_nothing_without_the_secret() -> None:
    plain, keyed = request_key(["a"], b"b"), request_key(["a"], b"b", b"a secret")
    assert keyed == request_key(["a"], b"b", b"a secret")
    assert {plain.key, plain.body}.isdisjoint({keyed.key, keyed.body})


# One server


async def test_a_request_sent_again_gets_its_rows_and_is_not_computed_again(keys: Keys) -> None:
    compute = Computation("good", "bad", "good")
    first, replayed = await keys.once(KEY, compute)
    again, replayed_again = await keys.once(KEY, compute)
    assert again == without_texts(first)
    assert (replayed, replayed_again, compute.asked) == (False, True, 1)


async def test_scores_come_back_in_the_models_order(keys: Keys) -> None:
    await keys.once(KEY, Computation())
    [row], _ = await keys.once(KEY, Computation())
    assert list(row.scores) == LABELS


async def test_a_key_of_rows_from_before_the_engine_was_written_answers_them(
    keys: Keys, database_dsn: str
) -> None:
    await keys.once(KEY, Computation())
    await execute(database_dsn, "UPDATE predictions SET engine = NULL")
    [row], replayed = await keys.once(KEY, Computation())
    assert (row.engine, replayed) == (None, True)


async def test_another_key_is_another_request(keys: Keys, database_dsn: str) -> None:
    compute = Computation()
    await keys.once(KEY, compute)
    await keys.once(request_key(["order-4712"], b"body"), compute)
    assert compute.asked == await count(database_dsn, "predictions") == 2


async def test_a_key_with_another_body_is_refused(keys: Keys) -> None:
    compute = Computation()
    await keys.once(KEY, compute)
    with pytest.raises(KeyReused, match="another body"):
        await keys.once(OTHER_BODY, compute)
    assert compute.asked == 1


async def test_a_key_with_another_body_is_refused_also_while_the_first_one_is_in_work(
    keys: Keys,
) -> None:
    compute = Computation()
    compute.open.clear()
    first = asyncio.create_task(keys.once(KEY, compute))
    await compute.under_way.wait()
    with pytest.raises(KeyReused):
        await keys.once(OTHER_BODY, compute)
    compute.open.set()
    await first


async def test_fifty_at_once_are_computed_once_and_all_get_the_same(
    keys: Keys, database_dsn: str
) -> None:
    compute = Computation()
    outcomes = await asyncio.gather(*(keys.once(KEY, compute) for _ in range(50)))
    assert sorted(replayed for _, replayed in outcomes) == [False] + [True] * 49
    assert len({rows[0].id for rows, _ in outcomes}) == 1
    assert compute.asked == await count(database_dsn, "predictions") == 1


async def test_many_keys_at_once_share_commits(keys: Keys, database_dsn: str) -> None:
    requests = [request_key([f"key-{number}"], b"body") for number in range(300)]
    await asyncio.gather(*(keys.once(key, Computation("a", "b")) for key in requests))
    assert await count(database_dsn, "predictions") == 600
    [row] = await fetch(database_dsn, "SELECT count(DISTINCT xmin::text) FROM idempotency_keys")
    assert row["count"] < 150


# The first one fails


async def test_a_failure_leaves_the_key_free(keys: Keys) -> None:
    compute = Computation()
    compute.failure = InferenceError("The model failed.")
    with pytest.raises(InferenceError):
        await keys.once(KEY, compute)
    compute.failure = None
    _, replayed = await keys.once(KEY, compute)
    assert not replayed


async def test_when_the_first_one_fails_the_second_one_computes(keys: Keys) -> None:
    failing, compute = Computation(), Computation()
    failing.failure = InferenceError("The model failed.")
    failing.open.clear()
    first = asyncio.create_task(keys.once(KEY, failing))
    await failing.under_way.wait()
    second = asyncio.create_task(keys.once(KEY, compute))
    third = asyncio.create_task(keys.once(KEY, compute))
    failing.open.set()
    with pytest.raises(InferenceError):
        await first
    assert (await second)[0] == (await third)[0]
    assert compute.asked == 1


async def test_when_the_first_client_hangs_up_the_second_one_computes(
    keys: Keys, database_dsn: str
) -> None:
    hung_up, compute = Computation(), Computation()
    hung_up.open.clear()
    first = asyncio.create_task(keys.once(KEY, hung_up))
    await hung_up.under_way.wait()
    second = asyncio.create_task(keys.once(KEY, compute))
    await asyncio.sleep(0)
    first.cancel()
    _, replayed = await second
    assert (replayed, await count(database_dsn, "predictions")) == (False, 1)


async def test_a_client_that_hangs_up_while_it_waits_disturbs_nobody(keys: Keys) -> None:
    compute = Computation()
    compute.open.clear()
    first = asyncio.create_task(keys.once(KEY, compute))
    await compute.under_way.wait()
    second = asyncio.create_task(keys.once(KEY, compute))
    await asyncio.sleep(0)
    second.cancel()
    with suppress(asyncio.CancelledError):
        await second
    compute.open.set()
    assert (await first)[1] is False


async def test_a_client_that_hung_up_during_the_commit_is_answered_when_it_asks_again(
    keys: Keys, database_dsn: str
) -> None:
    other = await asyncpg.connect(database_dsn)
    async with other.transaction():
        await other.execute("LOCK TABLE idempotency_keys IN SHARE MODE")
        first = asyncio.create_task(keys.once(KEY, Computation("first")))
        await until_a_session_waits(database_dsn)
        first.cancel()
        second = asyncio.create_task(keys.once(KEY, Computation("second")))
        await asyncio.sleep(0)
    await other.close()
    [row], _ = await second
    assert [row.id] == [found["id"] for found in await fetch(database_dsn, "TABLE predictions")]


async def test_waiting_for_another_one_ends_with_the_deadline(
    make_keys: Callable[..., Keys],
) -> None:
    keys, compute = make_keys(deadline_seconds=0.2), Computation()
    compute.open.clear()
    outcomes = await asyncio.gather(
        *(keys.once(KEY, compute) for _ in range(3)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [DeadlineExceeded] * 3


# What the log no longer has


async def test_an_expired_key_is_a_new_one(make_keys: Callable[..., Keys]) -> None:
    keys, compute = make_keys(seconds=0), Computation()
    await keys.once(KEY, compute)
    _, replayed = await keys.once(OTHER_BODY, compute)
    assert (replayed, compute.asked) == (False, 2)


@pytest.mark.parametrize("gone", ["text = 'bad'", "true"])
async def test_a_key_whose_rows_are_erased_is_computed_anew(
    keys: Keys, database_dsn: str, gone: str
) -> None:
    compute = Computation("good", "bad")
    before, _ = await keys.once(KEY, compute)
    await execute(database_dsn, f"DELETE FROM predictions WHERE {gone}")
    after, replayed = await keys.once(KEY, compute)
    assert not replayed
    assert {row.id for row in before}.isdisjoint(row.id for row in after)
    assert await keys.once(KEY, compute) == (without_texts(after), True)


async def test_expired_keys_are_deleted_and_no_others(
    keys: Keys, database: Database, database_dsn: str
) -> None:
    await keys.once(KEY, Computation())
    await execute(
        database_dsn,
        "INSERT INTO idempotency_keys SELECT sha256(n::text::bytea), '', '{}', now()"
        f" FROM generate_series(1, {2 * KEYS_A_DELETE}) AS n",
    )
    await delete_expired(database)
    assert await count(database_dsn, "idempotency_keys") == 1


# The commit


async def test_a_commit_that_is_done_again_is_won_again(
    database: Database, database_dsn: str
) -> None:
    claims = Claims(database, Metrics(), 60)
    group = [Claim(KEY, [example_row(), example_row()])]
    assert await claims.commit(group) == await claims.commit(group) == [None]
    assert await count(database_dsn, "predictions") == 2


async def test_a_commit_on_a_connection_that_has_died_is_done_again(
    keys: Keys, database_dsn: str
) -> None:
    await keys.once(KEY, Computation())
    await execute(
        database_dsn,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE application_name = 'sentiment' AND datname = current_database()",
    )
    _, replayed = await keys.once(KEY, Computation())
    assert replayed


async def test_who_loses_a_key_writes_none_of_its_rows_and_its_neighbours_are_kept(
    database: Database, database_dsn: str
) -> None:
    claims = Claims(database, Metrics(), 60)
    free = request_key(["free"], b"body")
    await claims.commit([Claim(KEY, [example_row("winner")])])
    outcomes = await claims.commit(
        [Claim(KEY, [example_row("loser")] * 2), Claim(free, [example_row("neighbour")])]
    )
    assert [type(outcome) for outcome in outcomes] == [KeyTaken, type(None)]
    kept = {row["text"] for row in await fetch(database_dsn, "SELECT text FROM predictions")}
    assert kept == {"winner", "neighbour"}


async def test_a_row_that_postgresql_cannot_hold_is_refused_alone_and_leaves_no_key(
    database: Database, database_dsn: str
) -> None:
    claims = Claims(database, Metrics(), 60)
    outcomes = await claims.commit(
        [
            Claim(request_key([text[0]], b""), [example_row(), example_row(text)])
            for text in ("good", "bad\0", "fine")
        ]
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), RowsRefused, type(None)]
    assert await count(database_dsn, "idempotency_keys") == 2
    assert await count(database_dsn, "predictions") == 4


async def test_a_key_that_waits_for_another_server_delays_no_row_without_one(
    keys: Keys, database: Database, database_dsn: str
) -> None:
    other = await asyncpg.connect(database_dsn)
    async with other.transaction():
        await other.execute(
            "INSERT INTO idempotency_keys VALUES ($1, '', '{}', now() + interval '1 hour')", KEY.key
        )
        waiting = asyncio.create_task(keys.once(KEY, Computation("waits")))
        await until_a_session_waits(database_dsn)
        await database.insert([example_row("goes on")])
        with pytest.raises(DatabaseUnavailable):
            await waiting
    await other.close()
    assert await texts(database) == ["goes on"]


async def test_a_lookup_reads_the_partition_of_its_rows_and_no_other(database_dsn: str) -> None:
    row = example_row()
    found = await plan(database_dsn, HELD_ROWS, row.created_at, row.created_at, [row.id])
    assert len(set(re.findall(r"on predictions_(\w+)", found))) == 1


# PostgreSQL away


async def test_without_postgresql_a_key_is_refused_at_once_and_says_when_to_retry() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/nowhere")
    compute = Computation()
    with pytest.raises(DatabaseUnavailable) as refused:
        await Keys(database, Metrics(), LABELS).once(KEY, compute)
    assert refused.value.retry_after
    assert compute.asked == 0


async def test_a_commit_that_took_too_long_is_refused_and_found_later(database_dsn: str) -> None:
    database = Database(database_dsn, write_seconds=0.3)
    keys = Keys(database, Metrics(), LABELS)
    other = await asyncpg.connect(database_dsn)
    async with other.transaction():
        await other.execute("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseUnavailable) as refused:
            await keys.once(KEY, Computation("first"))
        assert refused.value.retry_after
    await other.close()
    [row], _ = await keys.once(KEY, Computation("second"))
    assert [row.id] == [found["id"] for found in await fetch(database_dsn, "TABLE predictions")]
    await database.close()


async def test_all_who_wait_for_a_key_hear_at_once_that_postgresql_is_away(
    database_dsn: str,
) -> None:
    database = Database(database_dsn, write_seconds=0.5)
    keys, compute = Keys(database, Metrics(), LABELS), Computation()
    other = await asyncpg.connect(database_dsn)
    async with other.transaction():
        await other.execute("LOCK TABLE idempotency_keys IN ACCESS EXCLUSIVE MODE")
        async with asyncio.timeout(10):  # one after the other would take 25
            outcomes = await asyncio.gather(
                *(keys.once(KEY, compute) for _ in range(50)), return_exceptions=True
            )
    await other.close()
    assert {type(outcome) for outcome in outcomes} == {DatabaseUnavailable}
    await database.close()


# Several servers


async def test_of_two_servers_with_the_same_key_at_once_one_writes_and_both_answer_the_same(
    make_keys: Callable[..., Keys], database_dsn: str
) -> None:
    servers = [make_keys(), make_keys()]
    for number in range(100):
        key = request_key([f"key-{number}"], b"body")
        outcomes = await asyncio.gather(*(keys.once(key, Computation()) for keys in servers))
        assert len({rows[0].id for rows, _ in outcomes}) == 1
        assert {replayed for _, replayed in outcomes} == {False, True}
    assert await count(database_dsn, "predictions") == 100


async def test_of_two_servers_with_the_same_key_and_two_bodies_one_is_refused(
    make_keys: Callable[..., Keys], database_dsn: str
) -> None:
    outcomes = await asyncio.gather(
        make_keys().once(KEY, Computation()),
        make_keys().once(OTHER_BODY, Computation()),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, KeyReused) for outcome in outcomes) == 1
    assert await count(database_dsn, "predictions") == 1


def answer_all(dsn: str, names: Sequence[str], answers: "multiprocessing.Queue[list[str]]") -> None:
    """A server of its own: answers keys, many at once, and says with which ids."""

    async def work() -> list[str]:
        async with AsyncExitStack() as stack:
            database = Database(dsn, write_seconds=10)
            stack.push_async_callback(database.close)
            keys = Keys(database, Metrics(), LABELS)

            def once(name: str) -> Awaitable[tuple[list[PredictionRow], bool]]:
                return keys.once(request_key([name], b"body"), Computation("a", "b"))

            outcomes = await asyncio.gather(*map(once, names))
            return [str(row.id) for rows, _ in outcomes for row in rows]

    answers.put(run(work()))


def test_processes_that_want_the_same_keys_in_any_order_agree_on_every_answer(
    database_dsn: str,
) -> None:
    spawn = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[list[str]] = spawn.Queue()
    names = [f"key-{number}" for number in range(500)]
    processes = [
        spawn.Process(target=answer_all, args=(database_dsn, order, answers))
        for order in (names, names[::-1], names[250:] + names[:250])
    ]
    for process in processes:
        process.start()
    ids = {frozenset(answers.get(timeout=60)) for _ in processes}
    for process in processes:
        process.join(30)
    [agreed] = ids
    assert len(agreed) == 1000
    assert run(count(database_dsn, "predictions")) == 1000


async def test_a_key_survives_the_server(make_keys: Callable[..., Keys]) -> None:
    before, _ = await make_keys().once(KEY, Computation())
    assert await make_keys().once(KEY, Computation()) == (without_texts(before), True)


async def test_a_thousand_keys_at_once_wait_for_each_other_only_a_little(
    database_dsn: str,
) -> None:
    database = Database(database_dsn, write_seconds=2)
    keys = Keys(database, Metrics(), LABELS)
    requests = [request_key([f"key-{number}"], b"body") for number in range(1000)]
    for expected in (False, True):
        outcomes = await asyncio.gather(*(keys.once(key, Computation()) for key in requests))
        assert {replayed for _, replayed in outcomes} == {expected}
    await database.close()
