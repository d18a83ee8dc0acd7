"""What a cluster may leave on its machine, and the commands that the tests give."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from .waiting import until_equal

CLUSTER = Path(__file__).parents[2] / "tools/cluster/cluster"
NAMESPACE = "cluster-test"
STATE = Path("/var/lib/sentiment-cluster")

Left = dict[str, set[str]]


def output(*command: str | Path, stdin: str | None = None) -> str:
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def cluster(*arguments: str | Path) -> str:
    return output(CLUSTER, *arguments)


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    config = cluster("kubeconfig").strip()
    program = cluster("kubectl").strip()
    return output(program, "--kubeconfig", config, "-n", NAMESPACE, *arguments, stdin=stdin)


def make_namespace() -> None:
    """Pods are admitted as soon as it has its service account."""
    kubectl("create", "namespace", NAMESPACE)
    kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=30s")


def traces() -> Left:
    """Everything of the kinds that a cluster makes, its own and others'."""
    return {
        "processes": processes(),
        "mounts": mounts(),
        "links": {line.split(":")[1].strip() for line in output("ip", "-o", "link").splitlines()},
        "routes": set(output("ip", "route").splitlines()),
        "rules": rules("iptables-save") | rules("ip6tables-save"),
        "cgroups": {str(folder) for folder in Path("/sys/fs/cgroup").rglob("*kubepods*")},
        "files": files(),
    }


def processes() -> set[str]:
    """Those whose command line names the state folder, or that run in a pod."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_text().replace("\0", " ")
            groups = (folder / "cgroup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(STATE) in command or "kubepods" in groups:
            found.add(f"{folder.name} {command}")
    return found


def mounts() -> set[str]:
    lines = Path("/proc/mounts").read_text().splitlines()
    return {point for point in (line.split()[1] for line in lines) if "/overlay2/" not in point}


def rules(command: str) -> set[str]:
    """The rules and the chains that somebody made; built-in chains have a policy instead of `-`."""
    lines = output(command).splitlines()
    return {
        line.split("[")[0]
        for line in lines
        if line.startswith("-A") or (line.startswith(":") and line.split()[1] == "-")
    }


def files() -> set[str]:
    patterns = (
        "var/lib/sentiment-cluster*",
        "var/lib/kubelet/**",
        "var/lib/cni/**",
        "var/log/containers/*",
        "var/log/pods/*",
        "run/containerd/s/*",
        "run/netns/*",
    )
    return {str(path) for pattern in patterns for path in Path("/").glob(pattern)}


def power_off() -> None:
    """What a power cut leaves of a cluster: its files."""
    while running := processes():
        for line in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(line.split()[0]), signal.SIGKILL)
    for point in sorted(mounts(), reverse=True):
        if point.startswith(f"{STATE}/"):
            output("umount", "-l", point)
    output("ip", "link", "del", "sk8s-br")


def nothing_left(before: Left) -> None:
    """The kernel takes a moment to forget a network namespace and what was in it."""
    nothing: Left = {}
    until_equal(nothing, lambda: left_since(before), seconds=10)


def left_since(before: Left) -> Left:
    now = traces()
    return {kind: now[kind] - before[kind] for kind in now if now[kind] - before[kind]}
