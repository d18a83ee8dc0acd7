"""14. The commands of docs/operations/backup.md, as printed: dump, destroy, restore."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from .harness.load import Load
from .harness.log import Log
from .harness.namespace import Namespace
from .harness.programs import CHART, ROOT, helm, kubectl, run
from .harness.release import SMALL, Release

PAGE = ROOT / "docs/operations/backup.md"


def commands(heading: str) -> str:
    """The commands under a heading of the page."""
    section = PAGE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return "\n".join(re.findall(r"```bash\n(.*?)```", section, re.DOTALL))


def type_in(namespace: Namespace, script: str, folder: Path) -> None:
    """Run commands in a folder as a person whose context is this namespace would.

    Args:
        folder: has the chart and `my-values.yaml`, as the page supposes.
    """
    config = folder / "kubeconfig"
    config.write_text(run(kubectl(), "config", "view", "--raw", "--minify", "--flatten"))
    flags = [f"--kubeconfig={config}", "config", "set-context", "--current"]
    run(kubectl(), *flags, f"--namespace={namespace.name}")
    tools = [str(Path(tool).parent) for tool in (kubectl(), helm())]
    path = ":".join([*tools, os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=os.environ | {"KUBECONFIG": str(config), "PATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sentiment-chart").symlink_to(CHART)
    (tmp_path / "my-values.yaml").write_text(SMALL.read_text())
    return tmp_path


def test_a_dump_brings_every_row_back(
    release: Release, namespace: Namespace, log: Log, folder: Path
) -> None:
    release.install()
    with Load(release.url) as load:
        load.more(100)
        answered = list(load.answers)
        type_in(namespace, commands("Back up"), folder)  # while it works
    load.assert_nothing_failed()

    type_in(namespace, commands("Destroy, for an exercise"), folder)
    type_in(namespace, commands("Restore"), folder)

    namespace.wait_for_pods(2)
    log.assert_keeps(answered)
    with Load(release.url) as again:
        again.more(50)
    again.assert_nothing_failed()
    log.assert_keeps(again.answers)
