from collections.abc import Mapping
from pathlib import Path

import pytest

from sentiment_k8s.threads import affinity_cores, cpu_quota, usable_threads


def quota(folder: Path, membership: str, files: Mapping[str, str]) -> float | None:
    """The quota that these control files give a process with this `/proc/self/cgroup`."""
    return cpu_quota(*cgroup_tree(folder, membership, files))


def cgroup_tree(folder: Path, membership: str, files: Mapping[str, str]) -> tuple[Path, Path]:
    cgroups = folder / "cgroup"
    for name, content in files.items():
        path = cgroups / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    proc = folder / "self-cgroup"
    proc.write_text(membership)
    return cgroups, proc


@pytest.mark.parametrize(
    ("cpu_max", "cores"),
    [("50000 100000", 0.5), ("150000 100000", 1.5), ("400000 100000", 4.0), ("max 100000", None)],
)
def test_a_pods_quota_is_read_from_its_root_in_version_2(
    tmp_path: Path, cpu_max: str, cores: float | None
) -> None:
    assert quota(tmp_path, "0::/\n", {"cpu.max": cpu_max}) == cores


def test_the_least_quota_on_the_way_to_the_root_counts(tmp_path: Path) -> None:
    files = {
        "cpu.max": "max 100000",
        "kubepods/cpu.max": "800000 100000",
        "kubepods/pod1/cpu.max": "200000 100000",
        "kubepods/pod1/container/cpu.max": "300000 100000",
    }
    assert quota(tmp_path, "0::/kubepods/pod1/container\n", files) == 2.0


def test_other_pods_quotas_do_not_count(tmp_path: Path) -> None:
    files = {"kubepods/pod1/cpu.max": "200000 100000", "kubepods/pod2/cpu.max": "50000 100000"}
    assert quota(tmp_path, "0::/kubepods/pod1\n", files) == 2.0


VERSION_1 = """\
12:memory:/docker/abc
4:cpu,cpuacct:/docker/abc
1:name=systemd:/docker/abc
"""


def test_version_1_says_the_quota_in_two_files(tmp_path: Path) -> None:
    files = {
        "cpu/docker/abc/cpu.cfs_quota_us": "150000",
        "cpu/docker/abc/cpu.cfs_period_us": "100000",
    }
    assert quota(tmp_path, VERSION_1, files) == 1.5


def test_version_1_says_minus_one_for_no_quota(tmp_path: Path) -> None:
    files = {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}
    assert quota(tmp_path, VERSION_1, files) is None


def test_a_container_of_version_1_finds_its_quota_at_the_mounts_root(tmp_path: Path) -> None:
    """There the path in `/proc/self/cgroup` is the host's, and is not to be found inside."""
    files = {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}
    assert quota(tmp_path, VERSION_1, files) == 0.5


def test_a_hybrid_system_keeps_its_cpu_quota_in_version_1(tmp_path: Path) -> None:
    files = {
        "unified/docker/abc/cgroup.procs": "1",
        "cpu/docker/abc/cpu.cfs_quota_us": "250000",
        "cpu/docker/abc/cpu.cfs_period_us": "100000",
    }
    assert quota(tmp_path, VERSION_1 + "0::/docker/abc\n", files) == 2.5


def test_a_path_outside_our_namespace_is_followed_to_its_root(tmp_path: Path) -> None:
    assert quota(tmp_path, "0::/../other\n", {"cpu.max": "150000 100000"}) == 1.5


def test_a_machine_without_cgroups_has_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "none", tmp_path / "none") is None


@pytest.mark.parametrize("content", ["", "nonsense", "1 2 3", "x y", "100000 0"])
def test_a_control_file_that_makes_no_sense_is_no_quota(tmp_path: Path, content: str) -> None:
    assert quota(tmp_path, "0::/\n", {"cpu.max": content}) is None


@pytest.mark.parametrize("cpu_max", ["50000 100000", "150000 100000"])
def test_less_than_two_cores_are_one_thread(tmp_path: Path, cpu_max: str) -> None:
    assert usable_threads(*cgroup_tree(tmp_path, "0::/\n", {"cpu.max": cpu_max})) == 1


def test_threads_are_never_more_than_the_cores_we_may_use(tmp_path: Path) -> None:
    tree = cgroup_tree(tmp_path, "0::/\n", {"cpu.max": "99900000 100000"})
    assert usable_threads(*tree) == affinity_cores()


def test_without_a_quota_every_core_that_we_may_use_is_a_thread(tmp_path: Path) -> None:
    assert usable_threads(*cgroup_tree(tmp_path, "0::/\n", {})) == affinity_cores()
