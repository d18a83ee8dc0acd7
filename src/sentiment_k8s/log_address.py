"""Where the log is, for commands that look after it or read it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import SettingsError
from .migrations import upgrade
from .postgres import EmbeddedPostgres, running_address
from .settings import Settings


@contextmanager
def log_address(settings: Settings) -> Iterator[str]:
    """The log's database, as `DATABASE_URL` would have it.

    Without that it is the embedded one in the data folder: of the server that runs there, else
    started, brought to the newest schema, and stopped in the end. Not inside an event loop.

    Raises:
        SettingsError: there is no log yet.
        StartError: the embedded PostgreSQL does not start.
    """
    if settings.database_url:
        yield settings.database_url.get_secret_value()
        return
    if address := running_address(settings.data_dir):
        yield address
        return
    embedded = EmbeddedPostgres(settings.data_dir)
    if not embedded.folder.exists():
        raise SettingsError(
            f"DATABASE_URL is not set, and there is no embedded log in {settings.data_dir}: say "
            "where the log is."
        )
    with embedded:
        asyncio.run(upgrade(embedded.start()))
        yield embedded.start()
