"""13. By host name through a real ingress controller: in clear, by TLS, by the Gateway API."""

from pathlib import Path

import httpx
import pytest

from .harness.figures import Figures
from .harness.load import Load
from .harness.log import Log
from .harness.namespace import Namespace
from .harness.programs import ROOT, run
from .harness.release import Release
from .harness.traffic import Traffic
from .harness.waiting import wait_until

HOST = "sentiment.local"  # the book's
CLEAR, TLS = "http://127.0.0.1:8088", "https://127.0.0.1:8443"


@pytest.fixture(scope="module", autouse=True)
def controller() -> None:
    run(ROOT / "tools/cluster/cluster", "ingress", seconds=900)


def status(host: str, url: str = CLEAR) -> int:
    """What the controller answers for a host name."""
    name = {"sni_hostname": host}
    with httpx.Client(verify=False, trust_env=False, timeout=30) as client:
        request = client.build_request(
            "GET", f"{url}/health", headers={"Host": host}, extensions=name
        )
        try:
            return client.send(request).status_code
        except httpx.TransportError:  # no certificate for that name yet
            return 0


def test_the_ingress_leads_to_the_service_also_during_a_rollout(
    release: Release, log: Log, figures: Figures
) -> None:
    ingress = ["--set", "ingress.enabled=true,ingress.className=contour"]
    release.install(*ingress)
    wait_until("the route", lambda: status(HOST) == 200, seconds=30)
    assert status("elsewhere.local") == 404
    old = release.pods()
    with Traffic.at(CLEAR, HOST) as traffic:
        release.upgrade(*ingress, "--set-string", "podAnnotations.rolled=yes")
        release.wait_until_gone(old)
        traffic.more(100)
    figures(**traffic.assert_unharmed(log))


def test_tls_by_a_value(release: Release, namespace: Namespace, tmp_path: Path) -> None:
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.crt"
    run(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
        *("-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"),
        *("-keyout", key, "-out", certificate),
    )
    namespace.kubectl(
        *("create", "secret", "tls", "sentiment-tls"), f"--key={key}", f"--cert={certificate}"
    )
    release.install(
        "--set", "ingress.enabled=true,ingress.className=contour,ingress.tls.enabled=true"
    )
    wait_until("the route by TLS", lambda: status(HOST, TLS) == 200, seconds=30)
    with Load(TLS, host=HOST) as load:
        load.more(100)
    load.assert_nothing_failed()


def test_the_gateway_api_is_the_alternative(release: Release) -> None:
    release.install(
        "--set-json", 'httpRoute.parentRefs=[{"name": "contour", "namespace": "projectcontour"}]',
        "--set", "httpRoute.enabled=true",
    )  # fmt: skip
    wait_until("the route", lambda: status(HOST) == 200, seconds=30)
    with Load(CLEAR, host=HOST) as load:
        load.more(100)
    load.assert_nothing_failed()
