import errno
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django import Settings

from sandboxes import cgroup
from sandboxes.cgroup import Usage

ID = "0123abcd" * 8
PARENTS = [
    f"sandbox-platform/{ID}",
    f"docker/{ID}",
    f"sandbox_platform.slice/docker-{ID}.scope",
    f"system.slice/docker-{ID}.scope",
    f"operator.slice/operator-customers.slice/docker-{ID}.scope",
    f"customers/all/{ID}",
]
KINDS = ["own", "cgroupfs", "own slice", "systemd", "operator's slice", "operator's cgroup"]


@pytest.fixture
def root(tmp_path: Path, settings: Settings) -> Path:
    settings.SANDBOX_CGROUP_ROOT = tmp_path
    cgroup._searched.clear()
    return tmp_path


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.mark.parametrize("parent", PARENTS, ids=KINDS)
def test_usage_of_a_v1_tree(root: Path, parent: str) -> None:
    write(root / "cpuacct" / parent, cpuacct__usage="1234567890\n")
    write(
        root / "memory" / parent,
        memory__max_usage_in_bytes="4096\n",
        memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    )
    assert cgroup.usage(ID) == Usage(cpu_ms=1234, peak_memory_bytes=4096, oom_kills=2)


@pytest.mark.parametrize("parent", PARENTS, ids=KINDS)
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


def test_parent_that_was_found_once_is_not_looked_for_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root / "memory/customers" / ID, memory__usage_in_bytes="2048\n")
    write(root / "memory/customers" / ID[::-1], memory__usage_in_bytes="4096\n")
    assert cgroup.held_bytes(ID) == 2048
    monkeypatch.setattr(cgroup.os, "walk", lambda top: pytest.fail("went through the tree"))
    assert cgroup.held_bytes(ID[::-1]) == 4096


def test_tree_is_not_gone_through_at_each_look_for_a_container_that_is_gone(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks = []
    monkeypatch.setattr(cgroup.os, "walk", lambda top: walks.append(top) or ())
    assert [cgroup.held_bytes(ID) for _ in range(3)] == [None] * 3
    assert len(walks) == 1


def test_one_search_is_for_all_containers_that_are_gone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walks = []
    monkeypatch.setattr(cgroup.os, "walk", lambda top: walks.append(top) or ())
    gone = [f"{number:064x}" for number in range(5)]
    assert [cgroup.held_bytes(name) for name in gone] == [None] * 5
    assert len(walks) == 1


def test_tree_is_searched_again_after_a_while(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cgroup.held_bytes(ID) is None
    write(root / "memory/customers" / ID, memory__usage_in_bytes="2048\n")
    later = time.monotonic() + cgroup.SEARCH_EVERY_S
    monkeypatch.setattr(cgroup.time, "monotonic", lambda: later)
    assert cgroup.held_bytes(ID) == 2048


def test_container_that_ended_since_the_search_is_gone(root: Path) -> None:
    for name in (ID, ID[::-1]):
        write(root / "memory" / f"customers-{name[:4]}" / name, memory__usage_in_bytes="2048\n")
    assert cgroup.held_bytes(ID) == 2048
    shutil.rmtree(root / "memory" / f"customers-{ID[::-1][:4]}")
    assert cgroup.held_bytes(ID[::-1]) is None


def test_sandbox_of_the_direct_engine_is_not_looked_for_elsewhere(root: Path) -> None:
    write(root / "memory/elsewhere" / ID[:32], memory__usage_in_bytes="2048\n")
    assert cgroup.held_bytes(ID[:32]) is None


def test_parents_of_containers_that_an_operator_chose(root: Path) -> None:
    for parent in PARENTS:
        write(root / "memory" / parent)
    # A daemon in a container has a tree of its own below.
    write(root / "memory/docker" / ID / "docker" / ID[::-1])
    assert cgroup.other_parents() == {"operator.slice/operator-customers.slice", "customers/all"}


def test_usage_of_a_container_that_is_gone_is_unknown(root: Path) -> None:
    assert cgroup.usage(ID) is None


def test_usage_without_the_hosts_tree_is_unknown(root: Path, settings: Settings) -> None:
    settings.SANDBOX_CGROUP_ROOT = root / "not mounted"
    assert cgroup.usage(ID) is None


def test_usage_without_memory_figures_is_unknown(root: Path) -> None:
    write(root / "cpuacct" / PARENTS[0], cpuacct__usage="1234567890\n")
    assert cgroup.usage(ID) is None


@pytest.mark.parametrize("parent", PARENTS, ids=KINDS)
def test_memory_held_now(root: Path, parent: str) -> None:
    write(root / "memory" / parent, memory__usage_in_bytes="2048\n")
    assert cgroup.held_bytes(ID) == 2048
    write(root, cgroup__controllers="cpu memory pids\n")
    write(root / parent, memory__current="1024\n")
    assert cgroup.held_bytes(ID) == 1024


def test_memory_held_by_a_container_that_is_gone_is_unknown(root: Path) -> None:
    assert cgroup.held_bytes(ID) is None


# --- The direct engine's ---


def v1(root: Path, name: str, **files: str) -> None:
    for controller in ("cpu", "cpuacct", "memory", "pids"):
        write(root / controller / "sandbox-platform" / name, **files)


def v2(root: Path, name: str, **files: str) -> Path:
    write(root, cgroup__controllers="cpuset cpu io memory pids\n")
    write(root / "sandbox-platform" / name, **files)
    return root / "sandbox-platform" / name


def test_version_of_the_tree(root: Path) -> None:
    assert cgroup.version() == 1
    v2(root, ID)
    assert cgroup.version() == 2


def test_memory_limit_of_the_kernel(root: Path) -> None:
    assert cgroup.memory_limit(ID) is None
    write(root / "memory" / PARENTS[0], memory__limit_in_bytes="4096\n")
    assert cgroup.memory_limit(ID) == 4096
    folder = v2(root, ID, memory__max="8192\n")
    assert cgroup.memory_limit(ID) == 8192
    write(folder, memory__max="max\n")
    assert cgroup.memory_limit(ID) is None


@pytest.mark.parametrize("make", [v1, v2])
def test_processes_of_a_sandbox(root: Path, make: Callable[..., object]) -> None:
    make(root, ID, cgroup__procs="12\n34\n")
    assert set(cgroup.processes(ID)) == {12, 34}
    assert cgroup.processes("gone") == []


@pytest.mark.parametrize("make", [v1, v2])
def test_names_of_all_sandboxes(root: Path, make: Callable[..., object]) -> None:
    assert cgroup.names() == set()
    make(root, "a")
    make(root, "b")
    assert cgroup.names() == {"a", "b"}


def test_names_in_the_slice_are_the_containers_ids(root: Path) -> None:
    write(root, cgroup__controllers="cpu\n")
    write(root / "sandbox_platform.slice" / f"docker-{ID}.scope")
    assert cgroup.names() == {ID}


def test_weight_among_neighbours(root: Path) -> None:
    assert cgroup.cpu_weight(ID) is None
    write(root / "cpu" / PARENTS[0], cpu__shares="2\n")
    assert cgroup.cpu_weight(ID) == 2
    v2(root, ID, cpu__weight="1\n")
    assert cgroup.cpu_weight(ID) == 1


def test_kill_on_v2_is_one_write_to_the_kernel(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup.os, "kill", lambda pid, signal: pytest.fail("killed one by one"))
    folder = v2(root, ID, cgroup__kill="", cgroup__procs="12\n")
    cgroup.kill(ID)
    assert (folder / "cgroup.kill").read_text() == "1"


@pytest.mark.parametrize("make", [v1, v2])
def test_kill_goes_on_until_no_new_process_appears(
    root: Path, make: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(root, ID, cgroup__procs="12\n")
    killed = []

    def kill(pid: int, _signal: int) -> None:
        killed.append(pid)
        if pid == 12:
            make(root, ID, cgroup__procs="12\n34\n")

    monkeypatch.setattr(cgroup.os, "kill", kill)
    cgroup.kill(ID)
    assert killed == [12, 34]


def test_processes_of_another_pid_namespace_are_never_killed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup.os, "kill", lambda pid, signal: pytest.fail("killed"))
    v1(root, ID, cgroup__procs="0\n")
    with pytest.raises(OSError, match="namespace"):
        cgroup.kill(ID)


def test_removal_waits_for_processes_that_are_no_longer_listed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, refusals = v2(root, ID), [errno.EBUSY, errno.EBUSY]
    rmdir = Path.rmdir

    def busy(path: Path) -> None:
        if refusals:
            raise OSError(refusals.pop(), "busy")
        rmdir(path)

    monkeypatch.setattr(Path, "rmdir", busy)
    cgroup.remove(ID)
    assert (refusals, folder.exists()) == ([], False)


def test_missing_controllers(root: Path) -> None:
    assert cgroup.missing_controllers() == ["cpu", "cpuacct", "memory", "pids"]
    v1(root, ID)
    assert cgroup.missing_controllers() == []
    write(root, cgroup__controllers="cpuset cpu io\n")
    assert cgroup.missing_controllers() == ["memory", "pids"]
    write(root, cgroup__controllers="cpu memory pids\n")
    assert cgroup.missing_controllers() == ["cpuset"]


@pytest.mark.parametrize("make", [v1, v2])
def test_probe_of_the_tree_leaves_nothing(root: Path, make: Callable[..., object]) -> None:
    make(root, ID)
    cgroup.check_writable()
    assert cgroup.names() == {ID}


def test_probe_of_a_tree_that_is_not_there_fails(root: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        cgroup.check_writable()
