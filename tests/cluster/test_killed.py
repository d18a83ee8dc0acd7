"""`cluster up` is killed with no time to clean up, at several moments."""

import signal
import subprocess
from collections.abc import Iterator

import pytest

from .machine import CLUSTER, STATE, Left, cluster, kubectl, nothing_left
from .waiting import until_equal

pytestmark = pytest.mark.timeout(300)

# A file that `up` writes: it is killed as soon as it is there.
MOMENTS = ["pki.new/ca.crt", "pid/containerd", "pid/kube-apiserver", "pid/kubelet", "pid/netpol"]


@pytest.fixture(params=MOMENTS)
def killed(request: pytest.FixtureRequest, clean_machine: Left) -> Iterator[None]:
    up = subprocess.Popen([CLUSTER, "up"], stdout=subprocess.DEVNULL)
    until_equal(True, (STATE / request.param).exists)
    up.send_signal(signal.SIGKILL)
    up.wait()
    yield
    cluster("down")


@pytest.mark.usefixtures("killed")
def test_down_leaves_nothing(clean_machine: Left) -> None:
    cluster("down")
    nothing_left(clean_machine)


@pytest.mark.usefixtures("killed")
def test_up_comes_up() -> None:
    cluster("up")
    assert "Ready" in kubectl("get", "nodes")
