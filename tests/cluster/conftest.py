from collections.abc import Iterator

import pytest

from .machine import STATE, Left, cluster, traces


@pytest.fixture(scope="session")
def clean_machine() -> Left:
    """What the machine had before; where a cluster runs, it is somebody's, and these tests stop."""
    if STATE.exists():
        pytest.exit("A cluster is up, and these tests would stop it: tools/cluster/cluster down")
    cluster("build")
    return traces()


@pytest.fixture(scope="module")
def running(clean_machine: Left) -> Iterator[None]:
    cluster("up")
    yield
    cluster("down")
