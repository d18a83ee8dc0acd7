"""The table of faults: what is done, and how it is healed."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import asyncpg

from ..e2e.harness.waiting import wait_until
from .scene import Scene

Deed = Callable[[Scene], None]
SPOOLED_SECONDS = 30.0
MOST_SESSIONS = 100  # PostgreSQL has fewer


@dataclass(frozen=True, slots=True)
class Fault:
    """One way in which things go wrong.

    Args:
        name: for the report.
        on: what it is done to; two faults on different things may come together.
        do: makes it happen.
        heal: makes everything as it was.
        small_disk: whether it needs disks that can be filled.
        refuses: whether there is nowhere to write while it lasts.
    """

    name: str
    on: frozenset[str]
    do: Deed
    heal: Deed
    small_disk: bool = False
    refuses: bool = False


def cut(scene: Scene) -> None:
    scene.background.call(scene.relay.cut)


def stall_questions(scene: Scene) -> None:
    scene.background.call(scene.relay.there.stall)


def stall_answers(scene: Scene) -> None:
    scene.background.call(scene.relay.back.stall)


def stall(scene: Scene) -> None:
    stall_questions(scene)
    stall_answers(scene)


def slow_down(scene: Scene) -> None:
    scene.relay.there.delay = scene.choice.uniform(0.02, 0.3)
    scene.relay.back.delay = scene.choice.uniform(0.02, 0.3)


def cut_in_messages(scene: Scene) -> None:
    way = scene.choice.choice([scene.relay.there, scene.relay.back])
    way.cut_every = scene.choice.randint(1, 5000)


def refuse(scene: Scene) -> None:
    scene.background.run(scene.relay.refuse())


def restore(scene: Scene) -> None:
    scene.background.run(scene.relay.restore())


def make_read_only(scene: Scene) -> None:
    scene.postgres.configure("default_transaction_read_only = on")


def make_writable(scene: Scene) -> None:
    scene.postgres.configure("")


def take_all_sessions(scene: Scene) -> None:
    """So that the server, cut off for a moment, gets none any more."""

    async def take() -> None:
        with suppress(asyncpg.TooManyConnectionsError):
            for _ in range(MOST_SESSIONS):
                scene.sessions.append(await asyncpg.connect(scene.postgres.address))

    refuse(scene)
    scene.background.run(take())
    restore(scene)


def lock_the_table(scene: Scene) -> None:
    async def lock() -> None:
        session = await asyncpg.connect(scene.postgres.address)
        scene.sessions.append(session)
        await session.execute("BEGIN; LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")

    scene.background.run(lock())


def end_sessions(scene: Scene) -> None:
    async def end() -> None:
        for session in scene.sessions:
            await session.close()
        scene.sessions.clear()

    scene.background.run(end())


def end_servers_sessions(scene: Scene) -> None:
    """As an operator does who wants them gone."""

    async def end() -> None:
        session = await asyncpg.connect(scene.postgres.address)
        await session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE usename = current_user AND pid != pg_backend_pid()"
        )
        await session.close()

    scene.background.run(end())


def free_postgres_disk(scene: Scene) -> None:
    scene.postgres_disk.free()
    scene.postgres.start()  # it may have given up


def fill_the_spools_disk(scene: Scene) -> None:
    scene.spool_disk.fill()
    refuse(scene)


def free_the_spools_disk(scene: Scene) -> None:
    scene.spool_disk.free()
    restore(scene)


def fill_the_spool(scene: Scene) -> None:
    refuse(scene)
    scene.background.run(scene.load.ask_until_refused())


def kill_with_rows_in_the_spool(scene: Scene) -> None:
    refuse(scene)
    wait_until("a row in the spool", lambda: scene.spool_rows, seconds=SPOOLED_SECONDS)
    scene.server.kill()


def start_with_another_spool(scene: Scene) -> None:
    """As a new pod, which finds what the old one left."""
    scene.server.start(**scene.another_spool())
    restore(scene)


def kill_with_a_torn_record(scene: Scene) -> None:
    """As a power cut leaves it: a part of one more record is on disk."""
    kill_with_rows_in_the_spool(scene)
    newest = max(scene.segments)
    records = newest.read_bytes()
    newest.write_bytes(records + records[: scene.choice.randrange(1, len(records))])


def start_and_restore(scene: Scene) -> None:
    scene.server.start()
    restore(scene)


def kill_both(scene: Scene) -> None:
    scene.postgres.kill()
    scene.server.kill()


def stop_both(scene: Scene) -> None:
    scene.postgres.stop()
    scene.server.stop()


def start_both(scene: Scene) -> None:
    scene.server.start()
    scene.postgres.start()


def nothing(_: Scene) -> None:
    """It heals by itself."""


SERVER, POSTGRES = frozenset({"server"}), frozenset({"postgres"})
NETWORK, SPOOL = frozenset({"network"}), frozenset({"spool"})

FAULTS = (
    Fault("server killed", SERVER, lambda s: s.server.kill(), lambda s: s.server.start()),
    Fault("server stopped", SERVER, lambda s: s.server.stop(), lambda s: s.server.start()),
    Fault("PostgreSQL killed", POSTGRES, lambda s: s.postgres.kill(), lambda s: s.postgres.start()),
    Fault(
        "PostgreSQL stopped", POSTGRES, lambda s: s.postgres.stop(), lambda s: s.postgres.start()
    ),
    Fault("PostgreSQL hung", POSTGRES, lambda s: s.postgres.pause(), lambda s: s.postgres.resume()),
    Fault("PostgreSQL crashed", POSTGRES, lambda s: s.postgres.kill_a_session(), nothing),
    Fault("PostgreSQL read-only", POSTGRES, make_read_only, make_writable),
    Fault("PostgreSQL out of sessions", POSTGRES | NETWORK, take_all_sessions, end_sessions),
    Fault("PostgreSQL's sessions ended", POSTGRES, end_servers_sessions, nothing),
    Fault("table locked", POSTGRES, lock_the_table, end_sessions),
    Fault(
        "PostgreSQL's disk full",
        POSTGRES,
        lambda s: s.postgres_disk.fill(),
        free_postgres_disk,
        small_disk=True,
    ),
    Fault("connections cut", NETWORK, cut, nothing),
    Fault("connections refused", NETWORK, refuse, restore),
    Fault("connections cut in messages", NETWORK, cut_in_messages, restore),
    Fault("questions stalled", NETWORK, stall_questions, restore),
    Fault("answers stalled", NETWORK, stall_answers, restore),
    Fault("both ways stalled", NETWORK, stall, restore),
    Fault("network slow", NETWORK, slow_down, restore),
    Fault(
        "spool's disk full, PostgreSQL away",
        SPOOL | NETWORK,
        fill_the_spools_disk,
        free_the_spools_disk,
        small_disk=True,
        refuses=True,
    ),
    Fault("spool full", SPOOL | NETWORK | SERVER, fill_the_spool, restore, refuses=True),
    Fault(
        "server killed, last record torn",
        SERVER | NETWORK | SPOOL,
        kill_with_a_torn_record,
        start_and_restore,
    ),
    Fault(
        "server lost, spool left",
        SERVER | NETWORK | SPOOL,
        kill_with_rows_in_the_spool,
        start_with_another_spool,
    ),
    Fault("both killed", SERVER | POSTGRES, kill_both, start_both),
    Fault("both stopped", SERVER | POSTGRES, stop_both, start_both),
)
