"""Where this process's cgroup is in the tree that it sees, with trees and files as the kernel writes them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django import Settings

from sandboxes import cgroup, own_cgroup
from sandboxes.own_cgroup import LEAF, Unknown

POD = "/kubepods/burstable/pod0123/4567"
V1 = "\n".join(f"{number}:{name}:%s" for number, name in enumerate(["pids", "memory", "cpu,cpuacct"], 1))


@pytest.fixture
def root(tmp_path: Path, settings: Settings) -> Path:
    settings.SANDBOX_CGROUP_ROOT, settings.SANDBOX_CGROUP_PARENT = tmp_path / "tree", "auto"
    (tmp_path / "tree").mkdir()
    cgroup._below_own.cache_clear()
    return tmp_path / "tree"


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """What this process is said to be in, and what it sees."""

    def write(groups: str, mounts: str) -> None:
        (tmp_path / "proc").mkdir(exist_ok=True)
        (tmp_path / "proc/cgroup").write_text(groups)
        (tmp_path / "proc/mountinfo").write_text(mounts)

    monkeypatch.setattr(own_cgroup, "PROC", tmp_path / "proc")
    return write


def mounted(
    root: Path, top: str, *names: str, kind: str = "cgroup", options: str = "ro,nosuid,nodev,noexec"
) -> str:
    places = [root / name for name in names] or [root]
    return "".join(f"31 23 0:28 {top} {place} {options} - {kind} {kind} rw\n" for place in places)


def v1_tree(root: Path) -> None:
    for name in ("pids", "memory", "cpu,cpuacct"):
        (root / name).mkdir()
    for name in ("cpu", "cpuacct"):
        (root / name).symlink_to("cpu,cpuacct")


NAMES = ("pids", "memory", "cpu,cpuacct")


@pytest.mark.parametrize(
    ("group", "top", "path"),
    [
        (POD, POD, "sandbox-platform"),  # a container of a pod
        ("/", "/", "sandbox-platform"),  # with a cgroup namespace
        (POD, "/", f"{POD[1:]}/sandbox-platform"),  # the host's tree is mounted
        (POD, "/kubepods", "burstable/pod0123/4567/sandbox-platform"),
    ],
)
def test_v1(root: Path, proc: Callable[[str, str], None], group: str, top: str, path: str) -> None:
    v1_tree(root)
    proc(V1 % (group, group, group), mounted(root, top, *NAMES))
    assert cgroup.parent_path() == path


@pytest.mark.parametrize(
    ("group", "top", "path"),
    [
        ("/", "/", "sandbox-platform"),  # a container of a pod
        (f"/{LEAF}", "/", "sandbox-platform"),  # after its processes have moved
        (POD, "/", f"{POD[1:]}/sandbox-platform"),  # without a cgroup namespace, the host's tree is mounted
        (f"{POD}/{LEAF}", "/", f"{POD[1:]}/sandbox-platform"),
        (POD, POD, "sandbox-platform"),
    ],
)
def test_v2(root: Path, proc: Callable[[str, str], None], group: str, top: str, path: str) -> None:
    (root / "cgroup.controllers").write_text("cpu cpuset memory pids\n")
    proc(f"0::{group}\n", mounted(root, top, kind="cgroup2"))
    assert cgroup.parent_path() == path


def test_tree_of_another_namespace_is_refused_with_a_remedy(root: Path, proc: Callable[[str, str], None]) -> None:
    (root / "cgroup.controllers").touch()
    proc("0::/\n", mounted(root, "/../../..", kind="cgroup2"))
    with pytest.raises(Unknown, match="do not mount the host's"):
        cgroup.parent_path()


def test_group_outside_of_the_namespace_is_refused(root: Path, proc: Callable[[str, str], None]) -> None:
    (root / "cgroup.controllers").touch()
    proc("0::/../other\n", mounted(root, "/", kind="cgroup2"))
    with pytest.raises(Unknown):
        cgroup.parent_path()


def test_tree_that_is_not_mounted_is_refused(root: Path, proc: Callable[[str, str], None]) -> None:
    v1_tree(root)
    proc(V1 % (POD, POD, POD), mounted(root, POD, "pids", "memory"))
    with pytest.raises(Unknown, match="no mount of the cgroup tree of cpu"):
        cgroup.parent_path()


def test_process_in_several_groups_is_refused(root: Path, proc: Callable[[str, str], None]) -> None:
    v1_tree(root)
    proc(V1 % (POD, "/other", POD), mounted(root, "/", *NAMES))
    with pytest.raises(Unknown, match="several groups"):
        cgroup.parent_path()


def test_last_mount_at_a_place_counts(root: Path, proc: Callable[[str, str], None]) -> None:
    (root / "cgroup.controllers").touch()
    proc(f"0::{POD}\n", mounted(root, "/", kind="cgroup2") + mounted(root, POD, kind="cgroup2"))
    assert cgroup.parent_path() == "sandbox-platform"


def test_parent_is_that_of_today_unless_the_setting_says_otherwise(settings: Settings) -> None:
    settings.SANDBOX_CGROUP_PARENT = ""
    assert cgroup.parent_path() == "sandbox-platform"


# -- Delegation on v2, in a tree of files -----------------------------------------------------------------------


@pytest.fixture
def tree(root: Path, proc: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The top of a container's tree. Its two processes are moved by a stand-in for the kernel."""
    (root / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (root / "cgroup.procs").write_text("1\n7\n")
    (root / "cgroup.subtree_control").write_text("")
    proc("0::/\n", mounted(root, "/", kind="cgroup2"))

    def move(pid: str, leaf: Path) -> None:
        left = [one for one in (root / "cgroup.procs").read_text().split() if one != pid]
        (root / "cgroup.procs").write_text("\n".join(left))
        with open(leaf / "cgroup.procs", "a") as moved:
            moved.write(f"{pid}\n")

    monkeypatch.setattr(own_cgroup, "_move", move)
    return root


def test_processes_move_into_a_leaf_before_controllers_are_given(tree: Path) -> None:
    own_cgroup.delegate(tree)
    assert (tree / LEAF / "cgroup.procs").read_text().split() == ["1", "7"]
    assert (tree / "cgroup.procs").read_text() == ""
    assert (tree / "cgroup.subtree_control").read_text() == "+cpu +cpuset +memory +pids"


def test_process_in_the_leaf_delegates_the_same_group(tree: Path, proc: Callable[[str, str], None]) -> None:
    own_cgroup.delegate(tree)
    proc(f"0::/{LEAF}\n", mounted(tree, "/", kind="cgroup2"))
    own_cgroup.delegate(tree)
    assert not (tree / LEAF / LEAF).exists()


def test_missing_controller_is_named(tree: Path) -> None:
    (tree / "cgroup.controllers").write_text("cpu cpuset pids\n")
    with pytest.raises(Unknown, match="no controller memory"):
        own_cgroup.delegate(tree)
    assert (tree / "cgroup.procs").read_text() == "1\n7\n"


def test_processes_that_do_not_leave_are_named(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_cgroup, "_move", lambda pid, leaf: None)
    with pytest.raises(Unknown, match="do not leave it: 1, 7"):
        own_cgroup.delegate(tree)
    assert (tree / "cgroup.subtree_control").read_text() == ""


def test_process_of_another_namespace_is_not_moved(tmp_path: Path) -> None:
    with pytest.raises(Unknown, match="another PID namespace"):
        own_cgroup._move("0", tmp_path / LEAF)
