"""1. The book's commands, each way of deploying in a namespace of its own."""

import json
import time

import pytest

from .harness.figures import Figures
from .harness.forward import port_forward
from .harness.log import Log
from .harness.namespace import Namespace, Object, seconds_to_ready, states
from .harness.programs import MANIFESTS, run
from .harness.release import Release
from .harness.waiting import wait_until


def predict(url: str) -> Object:
    """The book's call, its URL encoded."""
    said = run("curl", "-sG", f"{url}/predict", "--data-urlencode", "text=I love AI!")
    answer: Object = json.loads(said)
    assert (answer["text"], answer["prediction"]) == ("I love AI!", "POSITIVE"), said
    return answer


def test_the_bare_pod_answers_without_a_database(namespace: Namespace) -> None:
    namespace.kubectl("apply", "-f", str(MANIFESTS / "addons/pod.yaml"))
    namespace.kubectl("wait", "--for=condition=Ready", "pod/sentiment-pod", "--timeout=120s")
    with port_forward(namespace, "pod/sentiment-pod", 8000) as url:
        assert predict(url)["id"] is None  # it says that nothing is recorded


def test_the_manifests_come_up_in_one_go(namespace: Namespace, log: Log, figures: Figures) -> None:
    started = time.monotonic()
    namespace.kubectl("apply", "-f", str(MANIFESTS))
    pods = namespace.wait_for_pods(3)
    seconds = time.monotonic() - started
    with port_forward(namespace, "svc/sentiment-service", 80) as url:
        answer = predict(url)
    assert [row.id for row in log.rows()] == [answer["id"]]
    figures(
        apply_to_ready_seconds=round(seconds, 1),
        one_pod_seconds=[seconds_to_ready(pod) for pod in pods],
    )


def test_the_deployment_alone_waits_and_says_for_what(namespace: Namespace) -> None:
    for name in ("secret.yaml", "deployment.yaml"):
        namespace.kubectl("apply", "-f", str(MANIFESTS / name))

    def look() -> str:
        pods = namespace.pods()
        if not pods or "running" not in str(states(pods[0])):
            return ""
        return namespace.kubectl("logs", pods[0]["metadata"]["name"], "-c", "migrate")

    said = wait_until("a sentence of the init container", look, seconds=60)
    assert "postgresql" in said.lower(), said
    namespace.kubectl("apply", "-f", str(MANIFESTS))
    namespace.wait_for_pods(3)


@pytest.mark.short
def test_the_chart_as_printed(namespace: Namespace, log: Log, figures: Figures) -> None:
    release = Release(namespace, values=None)
    seconds = release.install()
    pods = namespace.wait_for_pods(3)
    with port_forward(namespace, "svc/sentiment-service", 80) as url:
        answer = predict(url)
    assert answer["id"] in [row.id for row in log.rows()]
    release.test()
    figures(
        install_to_ready_seconds=round(seconds, 1),
        one_pod_seconds=[seconds_to_ready(pod) for pod in pods],
    )
