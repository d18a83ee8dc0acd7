"""files/prepare-postgresql.sh, which runs before PostgreSQL, on a real one."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sentiment_k8s.postgres_binaries import Account, account_for, find_binaries, runnable_by

from .rendering import CHART

SCRIPT = CHART / "files/prepare-postgresql.sh"
PASSWORD = "p'ss \"w\\rd$%"


@dataclass
class Claim:
    """A claim's folder, and the script and PostgreSQL as they run on it in a pod."""

    folder: Path
    account: Account | None
    binaries: Path
    port: int

    def run(self, *command: str | Path, **variables: str) -> str:
        """Run something as the pod's user and say what it printed.

        To a file, not a pipe: a PostgreSQL that is left running would hold that open.

        Raises:
            CalledProcessError: it failed.
        """
        environment = {
            "PATH": f"{self.binaries}:{os.environ['PATH']}",
            "PGDATA": str(self.folder / "pgdata"),
            "PGPORT": str(self.port),
            "DB": "ai_db",
            "DB_USER": "user",
            "PASSWORD_FILE": str(self.folder / "password"),
        }
        printed = self.folder / "printed"
        with printed.open("w") as stream:
            subprocess.run(
                command,
                env=environment | variables,
                user=self.account.uid if self.account else None,
                group=self.account.gid if self.account else None,
                extra_groups=[] if self.account else None,
                cwd=self.folder,
                stdout=stream,
                stderr=subprocess.STDOUT,
                check=True,
            )
        return printed.read_text()

    def prepare(self, password: str) -> str:
        """What the init container does."""
        (self.folder / "password").write_text(password)
        return self.run("sh", "-c", SCRIPT.read_text())

    def ask(self, password: str, query: str, role: str = "user") -> str:
        """What PostgreSQL, started as in the pod, answers by TCP.

        Raises:
            CalledProcessError: it refuses.
        """
        self.run("pg_ctl", "-w", "-o", "-c listen_addresses=127.0.0.1", "start")
        question = ("psql", "-Atw", "-h", "127.0.0.1", "-U", role, "-d", "ai_db", "-c", query)
        try:
            return self.run(*question, PGPASSWORD=password).strip()
        finally:
            self.run("pg_ctl", "-w", "-m", "fast", "stop")


@pytest.fixture
def claim() -> Iterator[Claim]:
    # Not pytest's folder, which is for root's eyes only: PostgreSQL runs as somebody else.
    with tempfile.TemporaryDirectory(prefix="sentiment-claim-") as name:
        folder = Path(name)
        if account := account_for(folder):
            os.chown(folder, account.uid, account.gid)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        claim = Claim(folder, account, runnable_by(account, find_binaries()), port)
        yield claim
        if (folder / "pgdata/postmaster.pid").exists():  # a test failed in between
            claim.run("pg_ctl", "-m", "immediate", "stop")


def test_an_empty_claim_gets_the_role_and_its_database(claim: Claim) -> None:
    claim.prepare(PASSWORD)
    assert claim.ask(PASSWORD, "SELECT current_user, current_database()") == "user|ai_db"


def test_the_role_owns_its_database_and_is_no_superuser(claim: Claim) -> None:
    claim.prepare(PASSWORD)
    assert claim.ask(PASSWORD, "CREATE TABLE mine (id int); SELECT 1").endswith("1")
    assert claim.ask(PASSWORD, "SELECT rolsuper FROM pg_roles WHERE rolname = 'user'") == "f"


def test_the_superuser_cannot_come_by_the_network(claim: Claim) -> None:
    claim.prepare(PASSWORD)
    with pytest.raises(subprocess.CalledProcessError):
        claim.ask(PASSWORD, "SELECT 1", role="postgres")


def test_a_claim_that_outlived_its_secret_takes_the_new_password_and_keeps_its_data(
    claim: Claim,
) -> None:
    claim.prepare("old")
    claim.ask("old", "CREATE TABLE kept AS SELECT 42 AS answer")
    claim.prepare(PASSWORD)
    assert claim.ask(PASSWORD, "SELECT answer FROM kept") == "42"
    with pytest.raises(subprocess.CalledProcessError):
        claim.ask("old", "SELECT 1")


def test_a_start_that_was_killed_half_way_is_begun_anew(claim: Claim) -> None:
    claim.run("mkdir", "pgdata.new")
    claim.run("touch", "pgdata.new/PG_VERSION")
    claim.prepare(PASSWORD)
    assert claim.ask(PASSWORD, "SELECT 1") == "1"


def test_a_claim_whose_postgresql_was_killed_recovers(claim: Claim) -> None:
    claim.prepare(PASSWORD)
    claim.run("pg_ctl", "-w", "-o", "-c listen_addresses=", "start")
    pid = int((claim.folder / "pgdata/postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGQUIT)
    wait_for_its_end(pid)
    claim.prepare(PASSWORD)
    assert claim.ask(PASSWORD, "SELECT 1") == "1"


def test_no_password_is_printed(claim: Claim) -> None:
    assert PASSWORD not in claim.prepare(PASSWORD)


def wait_for_its_end(pid: int) -> None:
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
