"""A virtual environment for each peer, since no two of them agree on versions."""

import hashlib
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

from ..machine import cache
from .peer import Unavailable

FOLDER = Path(__file__).parent
INSTALL_SECONDS = 1200.0


def environment(name: str) -> Path:
    """The Python of a peer's environment, made from `NAME/requirements.txt` when there is none
    or when that file has changed. uv links files from its cache, so that several environments
    with the same torch (5.7 GB) cost its space once.

    Raises:
        Unavailable: the packages cannot be installed here.
    """
    wanted = FOLDER / name / "requirements.txt"
    folder = home(name)
    python, made = folder / "bin" / "python", folder / "made-from"
    digest = hashlib.sha256(wanted.read_bytes()).hexdigest()
    if made.exists() and made.read_text() == digest:
        return python
    uv = [sys.executable, "-m", "uv"]
    _run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
    _run([*uv, "pip", "install", "--quiet", "--python", str(python), "-r", str(wanted)])
    made.write_text(digest)
    return python


def home(name: str) -> Path:
    """The folder of a peer's environment."""
    return cache() / "peers" / name


def version(name: str, *packages: str) -> str:
    """What a peer's environment has of some packages."""
    folders = list(map(str, home(name).glob("lib/python3*/site-packages")))
    found = (next(iter(distributions(name=each, path=folders)), None) for each in packages)
    return ", ".join(f"{one.name} {one.version}" for one in found if one)


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"its installation took over {INSTALL_SECONDS:.0f} s") from None
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no word"])[-1].strip()
        raise Unavailable(f"it cannot be installed: {last}") from None
