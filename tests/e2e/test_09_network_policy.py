"""9. The NetworkPolicies: who may speak to whom."""

from .harness.log import Log
from .harness.namespace import Namespace
from .harness.release import Release
from .harness.visitor import Visitor, knock


def test_only_the_server_reaches_postgresql(
    release: Release, namespace: Namespace, log: Log
) -> None:
    release.install()
    server = release.pods()[0]
    stranger = Visitor(namespace, "stranger")
    assert knock(namespace, server, "postgresql", 5432) == "open"
    assert stranger.knock("postgresql", 5432) == "blocked"
    assert stranger.knock("sentiment-service", 80) == "open"


def test_the_server_reaches_postgresql_and_dns_and_nothing_else(
    release: Release, namespace: Namespace
) -> None:
    release.install()
    server, other = release.pods()
    inner = namespace.get("pod", other)["status"]["podIP"]
    assert knock(namespace, server, "postgresql", 5432) == "open"  # found by DNS
    assert knock(namespace, server, inner, 8000) == "blocked"
    assert knock(namespace, server, "kubernetes.default", 443) == "blocked"


def test_postgresql_reaches_nothing(release: Release, namespace: Namespace, log: Log) -> None:
    release.install()
    pod = log.pod()
    listening = namespace.get("pod", release.pods()[0])["status"]["podIP"]
    # PostgreSQL's image has no Python; bash opens a connection, and timeout says when it cannot.
    door = f"timeout 3 bash -c '</dev/tcp/{listening}/8000' && echo open || echo blocked"
    assert namespace.kubectl("exec", pod, "--", "bash", "-c", door).strip() == "blocked"
