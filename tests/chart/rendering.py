"""The chart rendered by helm, as plain objects."""

import json
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "sentiment-chart"
CASES = sorted((CHART / "ci").glob("*.yaml"))

Object = dict[str, Any]


class Manifests(list[Object]):
    """What a release consists of."""

    def one(self, kind: str, name: str) -> Object:
        """The object of that kind and name."""
        [found] = [
            each for each in self if (each["kind"], each["metadata"]["name"]) == (kind, name)
        ]
        return found

    def names(self, kind: str) -> list[str]:
        """The names of all objects of a kind."""
        return [each["metadata"]["name"] for each in self if each["kind"] == kind]

    @property
    def deployment(self) -> Object:
        return self.one("Deployment", "sentiment-deployment")

    @property
    def pod(self) -> Object:
        """The specification of the server's pods."""
        return pod_of(self.deployment)

    @property
    def server(self) -> Object:
        """The server's container."""
        return container(self.deployment, "sentiment")


def pod_of(workload: Object) -> Object:
    """The specification of a workload's pods."""
    found: Object = (
        workload["spec"] if workload["kind"] == "Pod" else workload["spec"]["template"]["spec"]
    )
    return found


def container(workload: Object, name: str) -> Object:
    """A container of a workload's pods."""
    pod = pod_of(workload)
    [found] = [each for each in all_containers(pod) if each["name"] == name]
    return found


def all_containers(pod: Object) -> list[Object]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def environment(container: Object) -> dict[str, Any]:
    """A container's variables: their values, or where these come from."""
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


@lru_cache
def helm() -> str:
    """The path of helm."""
    return tool("tools/helm")


def tool(script: str) -> str:
    """The path of a program that a script of ours finds or builds."""
    found = subprocess.run([ROOT / script], check=True, stdout=subprocess.PIPE, text=True)
    return found.stdout.strip()


@lru_cache
def run_helm(*arguments: str) -> str:
    """What a helm command prints.

    Raises:
        AssertionError: it fails; the message is helm's.
    """
    done = subprocess.run([helm(), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def render(*, release: str = "sentiment", values: str | Path = "", **sets: Any) -> Manifests:
    """The chart's objects.

    Args:
        release: the release's name.
        values: a file of values.
        sets: values by path, with two underscores for a dot: `postgresql__enabled=False`.
    """
    arguments = ["--values", str(values)] if values else []
    for path, value in sets.items():
        arguments += ["--set-json", f"{path.replace('__', '.')}={json.dumps(value)}"]
    text = run_helm("template", release, str(CHART), *arguments)
    return Manifests(each for each in yaml.safe_load_all(text) if each)


def refusal(**sets: Any) -> str:
    """What helm says of values that it does not take."""
    try:
        render(**sets)
    except AssertionError as error:
        return str(error)
    raise AssertionError(f"Taken: {sets}")


def notes(*sets: str) -> str:
    """What helm says after an install: a template that only an install in a cluster would print."""
    arguments = [part for each in sets for part in ("--set", each)]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(CHART, folder, dirs_exist_ok=True))
        (copy / "templates/NOTES.txt").rename(copy / "notes")
        printed = '{kind: Notes, said: {{ tpl (.Files.Get "notes") . | toJson }}}'
        (copy / "templates/notes.yaml").write_text(printed)
        text = run_helm(
            "template", "sentiment", folder, "--show-only", "templates/notes.yaml", *arguments
        )
    said: str = yaml.safe_load(text)["said"]
    return said
