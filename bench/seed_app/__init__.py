"""The app that the book starts from, as a server to measure beside ours."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from ..machine import cache
from ..servers import Server

FOLDER = Path(__file__).parent
DATABASE = "book"


def environment(torch_from: Path | None) -> Path:
    """A virtual environment with what the app needs, made when there is none.

    Args:
        torch_from: an environment that has torch and transformers already, of the same Python;
            None installs them (5.7 GB).

    Returns:
        Its Python.
    """
    folder = cache() / "seed-app"
    python = folder / "bin" / "python"
    if (folder / "ready").exists():
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    wanted = (FOLDER / "requirements.txt").read_text().split()
    if torch_from is not None:
        [theirs] = torch_from.absolute().glob("lib/python3*/site-packages")
        [own] = folder.glob("lib/python3*/site-packages")
        (own / "borrowed.pth").write_text(f"{theirs}\n")
        wanted = [name for name in wanted if not name.startswith(("torch", "transformers"))]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
    (folder / "ready").touch()
    return python


def prepare_database(database_url: str) -> str:
    """A database of the book's own, with its table, on the same PostgreSQL.

    Returns:
        Its address.
    """
    address = urlunsplit(urlsplit(database_url)._replace(path=f"/{DATABASE}"))

    async def prepare() -> None:
        ours = await asyncpg.connect(database_url)
        await ours.execute(f"CREATE DATABASE {DATABASE}")
        await ours.close()
        book = await asyncpg.connect(address)
        await book.execute((FOLDER / "init.sql").read_text())
        await book.close()

    asyncio.run(prepare())
    return address


def server(
    python: Path, checkpoint: Path, database_url: str, cores: Sequence[int], log: Path
) -> Server:
    """The app as the book's Dockerfile starts it.

    Args:
        python: from `environment`.
        checkpoint: folder with the model in torch.
    """
    return Server(
        [str(python), "-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--port", "{port}"],
        cores=cores,
        ready="/health",
        log=log,
        environment={"MODEL": str(checkpoint.absolute()), "DATABASE_URL": database_url},
        folder=FOLDER,
    )
