"""The embedded PostgreSQL's data folder: made whole or not at all, and read by its owner only."""

import os
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from .errors import SettingsError, StartError
from .postgres_binaries import Account

USER = "user"
DATABASE = "ai_db"
PASSWORD_FILE = "sentiment.password"  # noqa: S105 - a file's name
COMPLAINT = re.compile(r"(?:ERROR|FATAL|PANIC|error): +(.+)")


def initialise(folder: Path, binaries: Path, account: Account | None) -> None:
    """Make a data folder beside its place and move it there whole, so that half a one is never
    taken for one.

    Raises:
        SettingsError: something else is in its place.
        StartError: PostgreSQL could not make it; the message says what it said.
    """
    if folder.exists() and any(folder.iterdir()):
        raise SettingsError(
            f"The folder {folder} is not empty and holds no PostgreSQL data: move it away, or "
            "choose another with SENTIMENT_DATA_DIR."
        )
    unfinished = folder.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        _make_database(unfinished, binaries, account)
    except BaseException:  # a full disk gets its space back
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    unfinished.rename(folder)
    _sync_folder(folder.parent)


def _make_database(unfinished: Path, binaries: Path, account: Account | None) -> None:
    unfinished.mkdir(mode=0o700)
    if account is not None:
        os.chown(unfinished, account.uid, account.gid)
    inside = seen_from_inside(unfinished, account)
    # PostgreSQL's own locale, which is the same on every machine.
    locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    access = ["-U", "postgres", "--auth-local=peer", "--auth-host=scram-sha-256"]
    initdb = [str(binaries / "initdb"), "-D", inside, *access, "--encoding=UTF8", *locale]
    _run(initdb, unfinished, account)
    password = secrets.token_urlsafe(24)
    # The superuser has no password, so nobody comes in as superuser over TCP.
    _run(
        [str(binaries / "postgres"), "--single", "-D", inside, "postgres"],
        unfinished,
        account,
        f"CREATE ROLE \"{USER}\" LOGIN CREATEDB PASSWORD '{password}'\n"
        f'CREATE DATABASE {DATABASE} OWNER "{USER}"\n',
    )
    _write_private(unfinished / PASSWORD_FILE, password, account)


def address(folder: Path, port: int) -> str:
    """The database in the folder, as `DATABASE_URL` would have it, when it is served at a port."""
    password = (folder / PASSWORD_FILE).read_text()
    return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"


def check_version(folder: Path, major: int) -> None:
    """Refuse data of another major version, which PostgreSQL would not read."""
    made_by = (folder / "PG_VERSION").read_text().strip()
    if made_by != str(major):
        raise SettingsError(
            f"The data in {folder} was made by PostgreSQL {made_by} and this is PostgreSQL "
            f"{major}: move it over with pg_dump and pg_restore, or choose another folder with "
            "SENTIMENT_DATA_DIR."
        )


def seen_from_inside(folder: Path, account: Account | None) -> str:
    """How to name the data folder to a PostgreSQL that starts in it.

    A folder below root's home cannot be reached by path as another user. Its working directory
    can: the kernel resolves this link without a look at the folders above.
    """
    return "/proc/self/cwd" if account is not None and sys.platform == "linux" else str(folder)


def clean_environment() -> dict[str, str]:
    """Nothing of ours: it may hold secrets, and another locale changes messages."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _run(command: list[str], folder: Path, account: Account | None, commands: str = "") -> None:
    """Run one of PostgreSQL's programs to its end.

    Raises:
        StartError: it failed; the single-user server reports errors only by its words.
    """
    drop: dict[str, Any] = {}
    if account is not None:
        drop = {"user": account.uid, "group": account.gid, "extra_groups": []}
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean_environment(),
        input=commands,
        capture_output=True,
        text=True,
        **drop,
    )
    if done.returncode or COMPLAINT.search(done.stderr):
        raise StartError(f"No database can be made in {folder.parent}: {reason_in(done.stderr)}")


def reason_in(said: str) -> str:
    """What PostgreSQL complained of last, as the end of a sentence."""
    complaints = COMPLAINT.findall(said)
    last = complaints[-1] if complaints else (said.splitlines() or ["it ended without a word"])[-1]
    return last.strip().rstrip(".") + "."


def _write_private(path: Path, text: str, account: Account | None) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        if account is not None:
            os.fchown(file.fileno(), account.uid, account.gid)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
