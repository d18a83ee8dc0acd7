"""What a chart may expect of a cluster, on ours."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from . import busybox
from .machine import NAMESPACE, STATE, cluster, kubectl, make_namespace
from .waiting import until_equal

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("workload")]

DENY_ALL = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nobody}
spec: {podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress]}
"""

GREEDY = """
apiVersion: v1
kind: Pod
metadata: {name: greedy}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: greedy
    image: busybox:test
    command: [sh, -c, "dd if=/dev/zero of=/scratch/big bs=1M count=8 && sleep 3600"]
    volumeMounts: [{name: scratch, mountPath: /scratch}]
  volumes: [{name: scratch, emptyDir: {sizeLimit: 2Mi}}]
"""


@pytest.fixture(scope="module")
def workload(running: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    static = shutil.which("busybox")
    assert static, "apt-get install busybox-static"
    cluster("load", busybox.archive(tmp_path_factory.mktemp("image"), Path(static)))
    make_namespace()
    kubectl("apply", "-f", str(Path(__file__).with_name("workload.yaml")))
    kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
    yield
    kubectl("delete", "namespace", NAMESPACE)


def in_client(*command: str) -> str:
    return kubectl("exec", "client", "--", *command)


def service_address() -> str:
    return kubectl("get", "service", "server", "-o", "jsonpath={.spec.clusterIP}")


def client_reaches_server() -> bool:
    get = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {service_address()} 80 || true"
    return "hello" in in_client("sh", "-c", get)


def volume() -> Path:
    return STATE / "volumes" / kubectl("get", "pvc", "data", "-o", "jsonpath={.spec.volumeName}")


def test_a_service_is_found_by_its_name() -> None:
    assert service_address() in in_client("nslookup", f"server.{NAMESPACE}.svc.cluster.local")


def test_a_service_is_reached_by_its_address() -> None:
    assert client_reaches_server()


def test_a_node_port_is_reached_on_loopback() -> None:
    port = kubectl("get", "service", "server", "-o", "jsonpath={.spec.ports[0].nodePort}")
    assert httpx.get(f"http://127.0.0.1:{port}").text == "hello\n"


def test_logs_are_read() -> None:
    assert "response:200" in kubectl("logs", "server")


def test_a_port_is_forwarded() -> None:
    command = [cluster("kubectl").strip(), "--kubeconfig", cluster("kubeconfig").strip()]
    arguments = ["-n", NAMESPACE, "port-forward", "service/server", ":80"]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True) as forward:
        assert forward.stdout
        port = forward.stdout.readline().split(" -> ")[0].rpartition(":")[2]
        assert httpx.get(f"http://127.0.0.1:{port}").text == "hello\n"
        forward.terminate()


def test_a_claim_has_a_volume_that_belongs_to_the_pods_group() -> None:
    assert volume().stat().st_gid == 4242
    assert (volume() / "index.html").stat().st_uid == 10001


def test_metrics_of_pods_are_served() -> None:
    def measured() -> set[str]:
        try:
            pods = kubectl(
                "get", "--raw", f"/apis/metrics.k8s.io/v1beta1/namespaces/{NAMESPACE}/pods"
            )
        except AssertionError:
            return set()
        return {pod["metadata"]["name"] for pod in json.loads(pods)["items"]}

    until_equal({"server", "client"}, measured, seconds=90)


def test_a_pod_that_overfills_its_scratch_space_is_evicted() -> None:
    """By the figures that the kubelet takes of its disk; where it has none, limits do nothing."""
    kubectl("apply", "-f", "-", stdin=GREEDY)
    until_equal(
        "Evicted", lambda: kubectl("get", "pod", "greedy", "-o", "jsonpath={.status.reason}")
    )


def test_a_network_policy_closes_a_pod_and_its_end_opens_it() -> None:
    kubectl("apply", "-f", "-", stdin=DENY_ALL)
    until_equal(False, client_reaches_server)
    kubectl("delete", "networkpolicy", "nobody")
    until_equal(True, client_reaches_server)


def test_an_ingress_answers_by_host_name() -> None:
    cluster("ingress")

    def status(host: str) -> int:
        return httpx.get("http://127.0.0.1:8088", headers={"Host": host}).status_code

    until_equal(200, lambda: status("server.local"))
    assert status("stranger.local") == 404


def test_a_volume_goes_with_its_claim() -> None:
    folder = volume()
    kubectl("delete", "pod", "server", "--grace-period=1")
    kubectl("delete", "pvc", "data")
    until_equal(False, folder.exists)
