"""The cluster is killed with no time to clean up, at several moments."""

import signal
import subprocess
from collections.abc import Iterator

import pytest

from .machine import (
    CLUSTER,
    STATE,
    Left,
    cluster,
    kubectl,
    make_namespace,
    nothing_left,
    power_off,
)
from .waiting import until_equal

pytestmark = pytest.mark.timeout(300)

# A file that `up` writes: it is killed as soon as it is there.
MOMENTS = ["pki.new/ca.crt", "pid/containerd", "pid/kube-apiserver", "pid/kubelet", "pid/netpol"]


@pytest.fixture
def machine(clean_machine: Left) -> Iterator[Left]:
    yield clean_machine
    cluster("down")


@pytest.fixture(params=MOMENTS)
def killed(request: pytest.FixtureRequest, machine: Left) -> None:
    up = subprocess.Popen([CLUSTER, "up"], stdout=subprocess.DEVNULL)
    until_equal(True, (STATE / request.param).exists)
    up.send_signal(signal.SIGKILL)
    up.wait()


@pytest.mark.usefixtures("killed")
def test_down_leaves_nothing(machine: Left) -> None:
    cluster("down")
    nothing_left(machine)


@pytest.mark.usefixtures("killed")
def test_up_comes_up() -> None:
    cluster("up")
    run_a_pod()


def test_up_after_a_power_cut_brings_the_pods_back(machine: Left) -> None:
    cluster("up")
    run_a_pod()
    power_off()
    cluster("up")
    restarts = "jsonpath={.status.containerStatuses[0].restartCount}"
    until_equal("1", lambda: kubectl("get", "pod", "pod", "-o", restarts))
    cluster("down")
    nothing_left(machine)


def run_a_pod() -> None:
    make_namespace()
    kubectl("run", "pod", "--image=localhost/pause:1")
    kubectl("wait", "pod/pod", "--for=condition=Ready", "--timeout=30s")
