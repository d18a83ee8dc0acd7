"""10. A namespace that enforces the restricted Pod Security Standard takes all that we install."""

import json

import pytest

from .harness.namespace import Namespace, name_of
from .harness.programs import MANIFESTS, CommandFailed, kubectl, run
from .harness.release import Release

ENFORCE = "pod-security.kubernetes.io/enforce"
ROOT_POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "root"},
    "spec": {"containers": [{"name": "root", "image": "sentiment-app:latest"}]},
}


def test_admission_is_on_and_takes_the_chart_and_its_test(
    release: Release, namespace: Namespace
) -> None:
    with pytest.raises(CommandFailed, match="violates PodSecurity"):
        namespace.kubectl("apply", "-f", "-", stdin=json.dumps(ROOT_POD))
    release.install()
    release.test()
    said = run(kubectl(), "get", "namespace", namespace.name, "-o", "json")
    assert json.loads(said)["metadata"]["labels"][ENFORCE] == "restricted"
    assert [name_of(pod) for pod in namespace.objects("pods")]


def test_admission_takes_the_manifests(namespace: Namespace) -> None:
    assert "Warning" not in namespace.kubectl("apply", "-f", str(MANIFESTS))
    namespace.wait_for_pods(3)


def test_admission_takes_the_bare_pod(namespace: Namespace) -> None:
    said = namespace.kubectl("apply", "-f", str(MANIFESTS / "addons/pod.yaml"))
    assert "Warning" not in said
    namespace.kubectl("wait", "--for=condition=Ready", "pod/sentiment-pod", "--timeout=120s")
