"""What needs Alembic and SQLAlchemy: running the migrations, and writing them out as `init.sql`."""

import io
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

HEADER = """\
-- The whole schema, for people who make the database by hand:
--
--     psql -v ON_ERROR_STOP=1 -d ai_db -f init.sql
--
-- Generated from src/sentiment_k8s/migrations by `make generate`: change a migration, not this
-- file. Servers bring the database up to date themselves (`sentiment db upgrade`).

"""


def config(output: io.StringIO | None = None) -> Config:
    """Alembic's configuration, which has no file of its own."""
    settings = Config(output_buffer=output)
    settings.set_main_option("script_location", str(Path(__file__).parent))
    return settings


def script_head() -> str | None:
    """The newest revision among the migrations."""
    return ScriptDirectory.from_config(config()).get_current_head()


async def run_upgrade(dsn: str) -> None:
    """Run the migrations that a database lacks, in one transaction."""

    # asyncpg reads the address itself, so whatever works for the server works here.
    def connect() -> asyncpg.Connection:
        return asyncpg.connect(dsn)  # type: ignore[return-value]

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def init_sql() -> str:
    """The migrations as one SQL script."""
    output = io.StringIO()
    command.upgrade(config(output), "head", sql=True)
    lines = [line.rstrip() for line in output.getvalue().splitlines()]
    text = "\n".join(lines).strip()
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return HEADER + text + "\n"


def _upgrade(connection: Connection) -> None:
    settings = config()
    settings.attributes["connection"] = connection
    command.upgrade(settings, "head")
