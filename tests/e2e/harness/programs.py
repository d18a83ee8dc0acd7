"""kubectl, helm and the like, as a person would type them."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
CHART = ROOT / "sentiment-chart"
MANIFESTS = ROOT / "k8s"


class CommandFailed(AssertionError):
    """A command ended badly; says which, and everything that it said."""

    def __init__(self, command: list[str], code: int, said: str) -> None:
        super().__init__(f"{' '.join(command)}\nended with {code}:\n{said.strip()}")
        self.said = said


def run(*command: str | Path, stdin: str | None = None, seconds: float = 120) -> str:
    """Run a command and return what it printed.

    Raises:
        CommandFailed: its exit status is not 0.
    """
    words = [str(word) for word in command]
    done = subprocess.run(
        words, input=stdin, capture_output=True, text=True, timeout=seconds, cwd=ROOT
    )
    if done.returncode:
        raise CommandFailed(words, done.returncode, done.stdout + done.stderr)
    return done.stdout


@cache
def kubectl() -> str:
    """Path of kubectl: the cluster's own, else the one on PATH."""
    own = run(ROOT / "tools/cluster/cluster", "kubectl").strip()
    return own if Path(own).exists() else str(shutil.which("kubectl"))


@cache
def helm() -> str:
    """Path of helm."""
    return run(ROOT / "tools/helm", seconds=900).strip()
