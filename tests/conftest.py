from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, settings

from .serving import RunningServer, running_server

# A busy machine is no fault of the code: nothing here fails by the clock.
settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("untimed")

pytest_plugins = ["tests.model_fixtures", "tests.postgres_fixtures"]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The server as `make run` starts it: bundled model, embedded PostgreSQL, free port."""
    with running_server(tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


@pytest.fixture
def data_dir(postgres_folder: Path) -> Path:
    """A data folder of the test's own, in which PostgreSQL has been once: that saves seconds."""
    return postgres_folder
