"""`helm install sentiment ./sentiment-chart` and what follows it."""

import time
from pathlib import Path

from .namespace import Namespace, Object, name_of
from .programs import CHART, helm, run

SMALL = Path(__file__).parents[1] / "values.yaml"
NAME = "sentiment"  # the book's
DEPLOYMENT = f"{NAME}-deployment"


class Release:
    """The book's release in a namespace.

    Args:
        values: file that every install and upgrade takes, or None for the chart's own values.
    """

    def __init__(self, namespace: Namespace, values: Path | None = SMALL) -> None:
        self.namespace = namespace
        self._values = ["--values", str(values)] if values else []

    @property
    def url(self) -> str:
        return self.namespace.address(f"{NAME}-service")

    def install(self, *words: str, wait: bool = True, timeout: int = 300) -> float:
        """Install and wait until all is ready; returns the seconds."""
        return self._deploy("install", *words, wait=wait, timeout=timeout)

    def upgrade(self, *words: str, wait: bool = True, timeout: int = 300) -> float:
        """Upgrade to the chart's values and these, and wait; returns the seconds."""
        return self._deploy("upgrade", *words, wait=wait, timeout=timeout)

    def rollback(self, revision: int) -> float:
        started = time.monotonic()
        self.helm("rollback", NAME, str(revision), "--wait", "--timeout=300s")
        return time.monotonic() - started

    def uninstall(self) -> None:
        self.helm("uninstall", NAME, "--wait", "--timeout=180s")

    def test(self) -> str:
        return self.helm("test", NAME, "--timeout=180s")

    def history_is_empty(self) -> bool:
        return self.helm("list", "--all", "--output=json").strip() == "[]"

    def pod_template(self) -> Object:
        template: Object = self.namespace.get("deployment", DEPLOYMENT)["spec"]["template"]
        return template

    def pods(self) -> list[str]:
        """Names of its pods, the server's."""
        return [name_of(pod) for pod in self.namespace.pods()]

    def wait_until_gone(self, pods: list[str]) -> None:
        """Until these pods are no more: their grace period is part of what is tested."""
        names = [f"pod/{name}" for name in pods]
        self.namespace.kubectl("wait", "--for=delete", *names, "--timeout=120s", seconds=150)

    def helm(self, *words: str, seconds: float = 400) -> str:
        return run(helm(), "--namespace", self.namespace.name, *words, seconds=seconds)

    def _deploy(self, verb: str, *words: str, wait: bool, timeout: int) -> float:
        started = time.monotonic()
        waiting = ["--wait", f"--timeout={timeout}s"] if wait else []
        self.helm(verb, NAME, str(CHART), *self._values, *words, *waiting, seconds=timeout + 60)
        return time.monotonic() - started
