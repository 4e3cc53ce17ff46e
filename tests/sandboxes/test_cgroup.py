from pathlib import Path

import pytest
from pytest_django import Settings

from sandboxes import cgroup
from sandboxes.cgroup import Usage

ID = "0123abcd" * 8
PARENTS = [f"sandbox-platform/{ID}", f"docker/{ID}", f"system.slice/docker-{ID}.scope"]


@pytest.fixture
def root(tmp_path: Path, settings: Settings) -> Path:
    settings.SANDBOX_CGROUP_ROOT = tmp_path
    return tmp_path


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.mark.parametrize("parent", PARENTS, ids=["own", "cgroupfs", "systemd"])
def test_usage_of_a_v1_tree(root: Path, parent: str) -> None:
    write(root / "cpuacct" / parent, cpuacct__usage="1234567890\n")
    write(
        root / "memory" / parent,
        memory__max_usage_in_bytes="4096\n",
        memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    )
    assert cgroup.usage(ID) == Usage(cpu_ms=1234, peak_memory_bytes=4096, oom_kills=2)


@pytest.mark.parametrize("parent", PARENTS, ids=["own", "cgroupfs", "systemd"])
def test_usage_of_a_v2_tree(root: Path, parent: str) -> None:
    write(root, cgroup__controllers="cpu memory pids\n")
    write(
        root / parent,
        cpu__stat="usage_usec 1234567\nuser_usec 1\nsystem_usec 2\n",
        memory__peak="4096\n",
        memory__current="1024\n",
        memory__events="low 0\nhigh 0\nmax 5\noom 1\noom_kill 2\n",
    )
    assert cgroup.usage(ID) == Usage(cpu_ms=1234, peak_memory_bytes=4096, oom_kills=2)


def test_usage_of_a_v2_tree_without_a_peak_is_the_present(root: Path) -> None:
    # Kernels before 5.19 have no memory.peak.
    write(root, cgroup__controllers="cpu memory pids\n")
    write(root / PARENTS[0], cpu__stat="usage_usec 1000\n", memory__current="1024\n")
    assert cgroup.usage(ID) == Usage(cpu_ms=1, peak_memory_bytes=1024, oom_kills=0)


def test_usage_of_a_container_that_is_gone_is_unknown(root: Path) -> None:
    assert cgroup.usage(ID) is None


def test_usage_without_the_hosts_tree_is_unknown(root: Path, settings: Settings) -> None:
    settings.SANDBOX_CGROUP_ROOT = root / "not mounted"
    assert cgroup.usage(ID) is None


def test_usage_without_memory_figures_is_unknown(root: Path) -> None:
    write(root / "cpuacct" / PARENTS[0], cpuacct__usage="1234567890\n")
    assert cgroup.usage(ID) is None


@pytest.mark.parametrize("parent", PARENTS, ids=["own", "cgroupfs", "systemd"])
def test_memory_held_now(root: Path, parent: str) -> None:
    write(root / "memory" / parent, memory__usage_in_bytes="2048\n")
    assert cgroup.held_bytes(ID) == 2048
    write(root, cgroup__controllers="cpu memory pids\n")
    write(root / parent, memory__current="1024\n")
    assert cgroup.held_bytes(ID) == 1024


def test_memory_held_by_a_container_that_is_gone_is_unknown(root: Path) -> None:
    assert cgroup.held_bytes(ID) is None
