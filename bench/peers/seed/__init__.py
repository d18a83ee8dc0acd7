"""The app that the book starts from: `transformers.pipeline`, a connection a request."""

import asyncio
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from ...servers import Server
from ...wire import SEED
from ..environment import FOLDER, environment, version
from ..peer import Peer, Setting

DATABASE = "book"


def prepare_database(database_url: str) -> str:
    """A database of the book's own, with its table, on the same PostgreSQL.

    Returns:
        Its address.
    """
    address = urlunsplit(urlsplit(database_url)._replace(path=f"/{DATABASE}"))

    async def prepare() -> None:
        ours = await asyncpg.connect(database_url)
        await ours.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        await ours.execute(f"CREATE DATABASE {DATABASE}")
        await ours.close()
        book = await asyncpg.connect(address)
        await book.execute((FOLDER / "seed" / "init.sql").read_text())
        await book.close()

    asyncio.run(prepare())
    return address


def server(setting: Setting) -> Server:
    """The app as the book's Dockerfile starts it."""
    python = environment("seed")
    return Server(
        [str(python), "-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--port", "{port}"],
        cores=setting.cores,
        ready=SEED,
        log=setting.log,
        environment={
            **setting.environment,
            "MODEL": str(setting.checkpoint.absolute()),
            "DATABASE_URL": prepare_database(setting.database_url),
        },
        folder=FOLDER / "seed",
    )


PEERS = (
    Peer(
        name="seed",
        precision="fp32",
        wire=SEED,
        settings="as the book prints it, a psycopg2 connection a request",
        install=lambda: environment("seed"),
        server=server,
        version=lambda: version("seed", "transformers", "torch"),
    ),
)
