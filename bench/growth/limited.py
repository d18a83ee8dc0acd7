"""A server under a CPU limit as Kubernetes sets it: a quota of CPU time in every 100 ms.

In a container of the image, where a Docker engine runs that has it; else in a control group of our
own, which needs root: the kernel limits both by the same files.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from .. import machine
from ..family import Family
from ..servers import Server
from ..stage import Stage

IMAGE = "sentiment-app:latest"
CGROUPS = Path("/sys/fs/cgroup")
PERIOD_US = 100_000
SPOOL = "/var/spool/sentiment"  # writable in the image
THREADS = "from sentiment_k8s.threads import usable_threads; print(usable_threads())"


class Throttling(NamedTuple):
    """How often a quota has run out so far."""

    periods: int
    throttled: int
    seconds: float


class Limited(Protocol):
    """A limit, and how to run our server under it."""

    def server(self, here: Stage, settings: Mapping[str, str], name: str) -> Server:
        """A server that may use all cores, within the limit; its log goes by `name`."""

    def throttling(self) -> Throttling:
        """Of the server, since its start."""

    def usable_threads(self) -> int:
        """What our own module takes from the limit, asked where the server runs."""


def parent() -> Path:
    """The folder that groups with CPU limits are made in: that of v1, or the root of v2."""
    v1 = CGROUPS / "cpu"
    return v1 if (v1 / "cgroup.procs").exists() else CGROUPS


class ControlGroup:
    """A control group of our own, v1 or v2, while it is entered.

    Args:
        cpus: its limit, in cores.
        cores: that its processes may use.
    """

    def __init__(self, cpus: float, cores: Sequence[int]) -> None:
        self._cpus = cpus
        self._cores = cores
        self._folder = parent() / f"bench-{os.getpid()}"

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir()
            quota = round(self._cpus * PERIOD_US)
            if parent() != CGROUPS:
                (self._folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (self._folder / "cpu.cfs_quota_us").write_text(str(quota))
            else:
                (self._folder / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        except OSError as error:
            raise SystemExit(
                f"No control group with a CPU limit can be made here ({error}): be root, or start "
                f"a Docker engine that has {IMAGE}."
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.rmdir()

    def server(self, here: Stage, settings: Mapping[str, str], name: str) -> Server:
        flags = ["--model", here.model, "--record", "required", "--port", "{port}"]
        spool = {"SENTIMENT_SPOOL_DIR": str(here.scratch / "spool")}
        return Server(
            self.inside(sys.executable, "-m", "sentiment_k8s", "serve", *flags),
            cores=self._cores,
            ready="/health/ready",
            log=here.logs / f"{name}.log",
            environment={"DATABASE_URL": here.database_url} | spool | dict(settings),
        )

    def throttling(self) -> Throttling:
        return read_throttling(self._folder / "cpu.stat")

    def usable_threads(self) -> int:
        command = self.inside(sys.executable, "-c", THREADS)
        with machine.pinned(self._cores):
            return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def inside(self, *command: str) -> list[str]:
        """A command that runs in the group."""
        enter = 'echo $$ >"$0" && exec "$@"'
        return ["/bin/sh", "-c", enter, str(self._folder / "cgroup.procs"), *command]


class Container:
    """A container of the image, on the host's network; entered like a control group.

    Args:
        cpus: its limit, in cores.
        cores: that its processes may use.
    """

    def __init__(self, cpus: float, cores: Sequence[int]) -> None:
        self._name = f"bench-{os.getpid()}"
        self._limits = ["--cpus", f"{cpus:g}", "--cpuset-cpus", ",".join(map(str, cores))]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["docker", "rm", "--force", self._name], capture_output=True, check=False)

    def server(self, here: Stage, settings: Mapping[str, str], name: str) -> Server:
        command = ["docker", "run", "--rm", "--name", self._name, "--network", "host"]
        command += ["--read-only", "--cap-drop", "ALL", "--user", "10001", *self._limits]
        command += ["--tmpfs", f"{SPOOL}:uid=10001"]
        if here.model != "bundled":
            command += ["--volume", f"{Path(here.model).absolute()}:/model:ro"]
            settings = {"SENTIMENT_MODEL": "/model", **settings}
        given = {
            "DATABASE_URL": here.database_url,
            "SENTIMENT_HOST": "127.0.0.1",
            "SENTIMENT_PORT": "{port}",
            "SENTIMENT_RECORD": "required",
            **settings,
        }
        for variable, value in given.items():
            command += ["--env", f"{variable}={value}"]
        return _Contained(
            [*command, IMAGE],
            cores=machine.parse_cores(f"0-{(os.cpu_count() or 1) - 1}"),
            ready="/health/ready",
            log=here.logs / f"{name}.log",
            container=self._name,
        )

    def throttling(self) -> Throttling:
        pid = _docker("inspect", "--format", "{{.State.Pid}}", self._name).strip()
        return read_throttling(_group(Path(f"/proc/{pid}/cgroup")) / "cpu.stat")

    def usable_threads(self) -> int:
        return int(_docker("exec", self._name, "/opt/sentiment/bin/python", "-c", THREADS))


class _Contained(Server):
    """A server in a container: its processes are no children of the client that started it."""

    def __init__(self, *arguments: object, container: str, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self._container = container

    def start(self) -> Self:
        super().start()
        pid = _docker("inspect", "--format", "{{.State.Pid}}", self._container)
        self._inside = Family("", int(pid))
        return self

    def cpu_seconds(self) -> float:
        return self._inside.cpu_seconds()

    def memory_mib(self) -> float:
        return self._inside.memory_mib()


def best(cpus: float, cores: Sequence[int]) -> ControlGroup | Container:
    """A container, if the image can be run here, else a control group."""
    known = (
        shutil.which("docker")
        and not subprocess.run(
            ["docker", "image", "inspect", IMAGE], capture_output=True, check=False
        ).returncode
    )
    return Container(cpus, cores) if known else ControlGroup(cpus, cores)


def read_throttling(cpu_stat: Path) -> Throttling:
    """From a group's `cpu.stat`, of v1 (nanoseconds) or v2 (microseconds)."""
    fields = dict(line.split() for line in cpu_stat.read_text().splitlines())
    if "throttled_usec" in fields:
        seconds = int(fields["throttled_usec"]) / 1e6
    else:
        seconds = int(fields["throttled_time"]) / 1e9
    return Throttling(int(fields["nr_periods"]), int(fields["nr_throttled"]), seconds)


def _group(membership: Path) -> Path:
    """The folder of a process's CPU group."""
    for line in membership.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(","):
            return CGROUPS / "cpu" / path.lstrip("/")
    return CGROUPS / path.lstrip("/")


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout
