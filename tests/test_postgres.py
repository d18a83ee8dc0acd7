import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from sentiment_k8s.errors import SettingsError, StartError
from sentiment_k8s.postgres import EmbeddedPostgres
from sentiment_k8s.postgres_binaries import account_for, runnable_by

from .postgres_fixtures import execute, fetch

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs prctl and /proc")

SUPERVISOR = """
import sys, time
from pathlib import Path
from sentiment_k8s.postgres import EmbeddedPostgres

server = EmbeddedPostgres(Path(sys.argv[1]))
address = server.start()
print(address, server.pid, flush=True)
time.sleep(600)
"""


def supervised(folder: Path) -> tuple[subprocess.Popen[str], str, int]:
    """A PostgreSQL under another Python: that process, the address, PostgreSQL's process id."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    address, pid = process.stdout.readline().split()
    process.stdout.close()
    return process, address, int(pid)


def wait_for_end(pid: int) -> None:
    handle = os.pidfd_open(pid)
    try:
        assert select.select([handle], [], [], 20)[0], "PostgreSQL goes on"
    finally:
        os.close(handle)


def same_user_as(folder: Path) -> dict[str, object]:
    owner = (folder / "postgresql").stat()
    return {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}


async def test_it_asks_for_the_password_in_its_address(postgres: EmbeddedPostgres) -> None:
    address = postgres.start()
    user, _, place = address.rpartition("@")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(f"{user}x@{place}")
    assert [tuple(row) for row in await fetch(address, "SELECT current_database(), user")] == [
        ("ai_db", "user")
    ]


async def test_nobody_is_superuser(postgres: EmbeddedPostgres) -> None:
    assert not await fetch(
        postgres.start(), "SELECT FROM pg_roles WHERE rolname = user AND rolsuper"
    )


async def test_a_commit_waits_for_the_disk(postgres: EmbeddedPostgres) -> None:
    found = await fetch(
        postgres.start(),
        "SELECT current_setting('fsync'), current_setting('synchronous_commit'),"
        " current_setting('full_page_writes')",
    )
    assert tuple(found[0]) == ("on", "on", "on")


async def test_rows_survive_a_stop_and_a_start(postgres: EmbeddedPostgres) -> None:
    await execute(postgres.start(), "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
    postgres.stop()
    assert [row["n"] for row in await fetch(postgres.start(), "SELECT n FROM kept")] == [7]


def test_only_the_owner_reads_the_password(postgres: EmbeddedPostgres) -> None:
    mode = (postgres.folder / "sentiment.password").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_starting_a_running_server_gives_its_address(postgres: EmbeddedPostgres) -> None:
    address, pid = postgres.start(), postgres.pid
    assert (postgres.start(), postgres.pid) == (address, pid)


@linux
async def test_it_stops_cleanly_when_its_supervisor_is_killed(postgres_folder: Path) -> None:
    supervisor, address, pid = supervised(postgres_folder)
    await execute(address, "SELECT 1")
    supervisor.kill()
    supervisor.wait()
    wait_for_end(pid)
    said = (postgres_folder / "postgresql.log").read_text()
    assert said.rstrip().endswith("database system is shut down")


@linux
async def test_it_starts_after_both_were_killed(
    postgres_folder: Path, postgres: EmbeddedPostgres
) -> None:
    supervisor, address, pid = supervised(postgres_folder)
    await execute(address, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
    os.kill(pid, signal.SIGKILL)
    supervisor.kill()
    supervisor.wait()
    assert (postgres_folder / "postgresql" / "postmaster.pid").exists()
    assert [row["n"] for row in await fetch(postgres.start(), "SELECT n FROM kept")] == [7]


@linux
async def test_a_server_that_was_killed_starts_again_at_the_same_address(
    postgres: EmbeddedPostgres,
) -> None:
    address = postgres.start()
    assert postgres.pid
    os.kill(postgres.pid, signal.SIGKILL)
    wait_for_end(postgres.pid)
    assert postgres.start() == address
    await execute(address, "SELECT 1")


@linux
def test_a_server_whose_port_was_taken_after_its_death_does_not_move(
    postgres: EmbeddedPostgres,
) -> None:
    address = postgres.start()
    assert postgres.pid
    os.kill(postgres.pid, signal.SIGKILL)
    wait_for_end(postgres.pid)
    port = urlsplit(address).port
    with (
        socket.create_server(("127.0.0.1", port or 0)),
        pytest.raises(StartError, match=f"another program has taken its port {port}"),
    ):
        postgres.start()
    assert postgres.start() == address


@linux
def test_a_stale_process_id_of_a_strangers_does_not_keep_it_from_starting(
    postgres: EmbeddedPostgres, postgres_folder: Path
) -> None:
    stranger = subprocess.Popen(["sleep", "600"], **same_user_as(postgres_folder))  # type: ignore[call-overload]
    try:
        note = postgres_folder / "postgresql" / "postmaster.pid"
        note.write_text(f"{stranger.pid}\n{postgres.folder}\n1\n5432\n\n\n0 0\nready\n")
        postgres.start()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@linux
def test_an_unreadable_note_of_a_process_id_does_not_keep_it_from_starting(
    postgres: EmbeddedPostgres,
) -> None:
    (postgres.folder / "postmaster.pid").write_text("")
    postgres.start()


@linux
def test_a_server_that_outlived_its_supervisor_is_stopped_first(
    postgres: EmbeddedPostgres,
    postgres_folder: Path,
    postgres_binaries: Path,
    unused_tcp_port: int,
) -> None:
    binaries = runnable_by(account_for(postgres.folder), postgres_binaries)
    options = ["-p", str(unused_tcp_port), "-c", "unix_socket_directories="]
    with subprocess.Popen(  # type: ignore[call-overload]
        [binaries / "postgres", *options, "-D", "/proc/self/cwd"],
        cwd=postgres.folder,
        stderr=subprocess.PIPE,
        text=True,
        **same_user_as(postgres_folder),
    ) as orphan:
        assert any("ready to accept connections" in line for line in orphan.stderr)
        postgres.start()
        assert orphan.wait(10) == 0


def test_a_second_server_on_a_folder_gets_one_sentence(
    postgres: EmbeddedPostgres, postgres_folder: Path
) -> None:
    postgres.start()
    second = EmbeddedPostgres(postgres_folder)
    with pytest.raises(
        SettingsError, match=rf"in use by another sentiment \(process {os.getpid()}\)"
    ):
        second.start()
    assert postgres.pid
    os.kill(postgres.pid, 0)


def test_data_of_another_major_version_is_refused(postgres: EmbeddedPostgres) -> None:
    (postgres.folder / "PG_VERSION").write_text("9\n")
    with pytest.raises(SettingsError, match="was made by PostgreSQL 9 and this is PostgreSQL"):
        postgres.start()


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "postgresql").mkdir()
    (tmp_path / "postgresql" / "thesis.txt").write_text("precious")
    with pytest.raises(SettingsError, match="is not empty and holds no PostgreSQL data"):
        EmbeddedPostgres(tmp_path).start()
    assert (tmp_path / "postgresql" / "thesis.txt").read_text() == "precious"


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"cannot be used for PostgreSQL: Not a directory"):
        EmbeddedPostgres(tmp_path / "file" / "data").start()


def test_what_postgresql_complains_of_is_said(postgres: EmbeddedPostgres) -> None:
    with (postgres.folder / "postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = on\n")
    with pytest.raises(StartError, match=r"configuration file .* contains errors"):
        postgres.start()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reaches every folder")
def test_a_folder_of_somebody_elses_is_one_sentence() -> None:
    with pytest.raises(SettingsError, match="Permission denied"):
        EmbeddedPostgres(Path("/root/sentiment")).start()


@linux
def test_it_outlives_the_thread_that_started_it(postgres: EmbeddedPostgres) -> None:
    thread = threading.Thread(target=postgres.start)
    thread.start()
    thread.join()
    assert postgres.pid
    handle = os.pidfd_open(postgres.pid)
    assert not select.select([handle], [], [], 0.5)[0], "the kernel has stopped it"
    os.close(handle)


def test_control_c_in_our_terminal_does_not_reach_it(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    assert postgres.pid
    assert os.getsid(postgres.pid) != os.getsid(0)


@linux
def test_it_gets_nothing_of_our_environment(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    names = {
        entry.partition(b"=")[0]
        for entry in Path(f"/proc/{postgres.pid}/environ").read_bytes().split(b"\0")
    }
    assert b"HOME" in {os.fsencode(name) for name in os.environ}
    assert b"HOME" not in names


async def test_no_statement_and_no_value_reaches_its_log(postgres: EmbeddedPostgres) -> None:
    address = postgres.start()
    await execute(address, "CREATE TABLE words (word text CHECK (length(word) < 3))")
    with pytest.raises(asyncpg.CheckViolationError):
        await execute(address, "INSERT INTO words VALUES ('confidential')")
    postgres.stop()
    assert "confidential" not in postgres.log.read_text()


def test_a_long_log_is_put_aside(postgres: EmbeddedPostgres) -> None:
    postgres.log.write_bytes(b"x" * 2_000_000)
    postgres.start()
    assert postgres.log.stat().st_size < 10_000
    assert postgres.log.with_suffix(".log.old").stat().st_size == 2_000_000


def test_a_half_made_folder_is_made_anew(tmp_path: Path) -> None:
    unfinished = tmp_path / "postgresql.new"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(tmp_path) as server:
        assert server.pid
    assert not unfinished.exists()
    shutil.rmtree(tmp_path / "postgresql")
