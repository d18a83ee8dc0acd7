"""What is rendered, against Kubernetes' own schemas and kube-score; and k8s/, which is rendered."""

import runpy
import subprocess
from functools import lru_cache
from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from .rendering import CASES, CHART, ROOT, Object, pod_of, render, run_helm, tool

OLDEST, NEWEST = "1.29", "1.37"
OF_OTHERS = {"Cluster", "HTTPRoute"}  # kinds of CloudNativePG and of the Gateway API

# What kube-score finds, and why it stays.
EXPLAINED = {
    "container-image-tag": "the book's image is sentiment-app:latest; a registry's is a value",
    "container-image-pull-policy": "Always would look for the book's image on Docker Hub",
    "container-ephemeral-storage-request-and-limit": "the root file system is read-only, and every "
    "volume that is written has a limit of its own",
    "deployment-has-host-podantiaffinity": "topologySpreadConstraints spread the pods",
    "container-security-context-user-group-id": "the postgres image's own user is 999",
    "pod-networkpolicy": "the test pod, and the book's bare Pod, live for a moment",
    "statefulset-has-servicename": "its Service has an address, so that a new pod keeps it",
    "service-type": "a port of the nodes is only there where it is asked for",
}

MANIFESTS = runpy.run_path(str(ROOT / "tools/chart/manifests.py"))
FILES = sorted((ROOT / "k8s").glob("*.yaml"))
ADDONS = sorted((ROOT / "k8s/addons").glob("*.yaml"))


def name_of(path: Path) -> str:
    return path.stem


def objects(path: Path) -> list[Object]:
    """The objects of a manifest."""
    return list(yaml.safe_load_all(path.read_text()))


def test_the_chart_is_clean_of_lint() -> None:
    run_helm("lint", "--strict", str(CHART))


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_each_case_is_clean_of_lint(case: Path) -> None:
    run_helm("lint", "--strict", str(CHART), f"--values={case}")


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("case", [None, *CASES], ids=lambda case: case.stem if case else "defaults")
def test_kubernetes_knows_every_field(case: Path | None, version: str) -> None:
    for each in render(values=case or ""):
        if each["kind"] not in OF_OTHERS:
            kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("path", FILES + ADDONS, ids=name_of)
def test_kubernetes_knows_every_field_of_k8s(path: Path, version: str) -> None:
    for each in objects(path):
        kubernetes_validate.validate(each, version, strict=True)


def test_the_oldest_release_is_the_one_that_the_chart_asks_for() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["kubeVersion"] == f">={OLDEST}.0-0"
    assert (chart["name"], chart["version"], chart["appVersion"]) == ("sentiment", "1.0.0", "1.0.0")


@pytest.mark.parametrize("case", [None, *CASES], ids=lambda case: case.stem if case else "defaults")
def test_kube_score_finds_nothing_unexplained_in(case: Path | None) -> None:
    arguments = [f"--values={case}"] if case else []
    score(run_helm("template", "sentiment", str(CHART), *arguments))


def test_kube_score_finds_nothing_unexplained_in_the_bare_pod() -> None:
    score((ROOT / "k8s/addons/pod.yaml").read_text())


def score(manifests: str) -> None:
    """Fail with what kube-score finds and we do not explain."""
    ignored = [part for each in EXPLAINED for part in ("--ignore-test", each)]
    command = [tool("tools/chart/kube-score"), "score", "--output-format", "ci", *ignored, "-"]
    said = subprocess.run(command, input=manifests, capture_output=True, text=True).stdout
    assert said
    findings = [each for each in said.splitlines() if not each.startswith(("[OK]", "[SKIPPED]"))]
    assert not findings, "\n".join(findings)


@lru_cache
def rendered() -> dict[Path, str]:
    """What k8s/ should be: each file that comes from the chart, with its text."""
    files: dict[Path, str] = MANIFESTS["manifests"]()
    return files


def test_k8s_has_what_the_chart_renders_and_the_bare_pod() -> None:
    assert {*FILES, *ADDONS} == {*rendered(), ROOT / "k8s/addons/pod.yaml"}


@pytest.mark.parametrize("path", FILES + ADDONS, ids=name_of)
def test_k8s_is_what_the_chart_renders(path: Path) -> None:
    assert path.read_text() == rendered().get(path, path.read_text()), "run: make manifests"


def test_k8s_has_the_book_s_files_and_what_they_need() -> None:
    assert {path.name for path in FILES} >= {"deployment.yaml", "service.yaml", "postgresql.yaml"}
    kinds = {each["kind"] for path in FILES for each in objects(path)}
    assert {"Secret", "NetworkPolicy", "PodDisruptionBudget"} <= kinds


def test_k8s_asks_for_nothing_that_it_does_not_bring() -> None:
    everything = [each for path in FILES for each in objects(path)]
    secrets = {each["metadata"]["name"] for each in everything if each["kind"] == "Secret"}
    assert secrets == {"sentiment-database", "sentiment-read-token"}


def test_k8s_says_nothing_of_helm() -> None:
    assert not any("helm.sh" in path.read_text() for path in FILES + ADDONS)


def test_the_addons_are_the_ones_that_the_book_applies() -> None:
    assert [(each["kind"], each["metadata"]["name"]) for p in ADDONS for each in objects(p)] == [
        ("HorizontalPodAutoscaler", "sentiment-hpa"),
        ("Ingress", "sentiment-ingress"),
        ("Service", "sentiment-service"),
        ("Pod", "sentiment-pod"),
    ]


def test_the_bare_pod_is_as_safe_as_the_server_and_not_behind_its_service() -> None:
    [pod] = objects(ROOT / "k8s/addons/pod.yaml")
    server = render()
    assert pod["metadata"]["labels"]["app"] != "sentiment"
    [container] = pod_of(pod)["containers"]
    assert container["securityContext"] == server.server["securityContext"]
    assert container["resources"] == server.server["resources"]
    assert pod_of(pod)["securityContext"]["runAsNonRoot"] is True
    assert "env" not in container
