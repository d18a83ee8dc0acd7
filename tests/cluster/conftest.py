from collections.abc import Iterator

import pytest

from .machine import STATE, Left, cluster, nothing_left, traces


@pytest.fixture(scope="session")
def clean_machine() -> Left:
    """What the machine had before; where a cluster runs, it is somebody's, and these tests stop."""
    if STATE.exists():
        pytest.exit("A cluster is up, and these tests would stop it: tools/cluster/cluster down")
    cluster("build")
    return traces()


@pytest.fixture(scope="session")
def running(request: pytest.FixtureRequest) -> Iterator[None]:
    """A cluster: the one that runs, which is left as it was, or one of these tests' own."""
    if STATE.exists():
        yield
        return
    before: Left = request.getfixturevalue("clean_machine")
    cluster("up")
    yield
    cluster("down")
    nothing_left(before)
