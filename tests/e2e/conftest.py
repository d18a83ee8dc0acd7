"""Fixtures of the scenarios; `make e2e` has made the cluster and loaded the image before."""

from collections.abc import Iterator

import pytest

from .harness.figures import Figures
from .harness.log import Log
from .harness.namespace import Namespace, new_namespace
from .harness.programs import CommandFailed
from .harness.release import Release


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("e2e")
    group.addoption("--keep", action="store_true", help="leave the namespaces for a look")
    group.addoption("--minutes", type=float, default=2.0, help="of high load, each time")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "short: what CI runs on every change")


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Put what the cluster says beside the failure, while it is still there."""
    namespace = getattr(item, "funcargs", {}).get("namespace")
    if call.excinfo is None or not isinstance(namespace, Namespace) or call.when != "call":
        return
    if call.excinfo.errisinstance(pytest.skip.Exception):
        return
    try:
        item.add_report_section("call", f"namespace {namespace.name}", namespace.evidence())
    except (CommandFailed, OSError) as gone:
        item.add_report_section("call", f"namespace {namespace.name}", str(gone))


@pytest.fixture
def pod_security() -> str:
    """The Pod Security level of the scenario's namespace; a scenario may say another."""
    return "restricted"


@pytest.fixture
def namespace(request: pytest.FixtureRequest, pod_security: str) -> Iterator[Namespace]:
    number = request.path.stem.removeprefix("test_")[:2]
    with new_namespace(
        number, pod_security=pod_security, keep=request.config.getoption("keep")
    ) as made:
        yield made


@pytest.fixture
def release(namespace: Namespace) -> Release:
    """The chart with `values.yaml` of this folder, not installed yet."""
    return Release(namespace)


@pytest.fixture
def log(namespace: Namespace) -> Log:
    return Log(namespace)


@pytest.fixture
def figures(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Figures:
    scenario = f"{request.path.stem.removeprefix('test_')}::{request.node.name}"

    def say(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")  # noqa: T201

    return Figures(scenario, say)
