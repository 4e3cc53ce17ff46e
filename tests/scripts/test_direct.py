import json
import os
from pathlib import Path

import pytest

from scripts.setup import direct
from scripts.setup.host import SetupError


def test_present_tools_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "on_path", lambda name: [f"/usr/bin/{name}"])
    monkeypatch.setattr(direct.apt, "install", lambda packages: pytest.fail(f"installed {packages}"))
    direct.ensure_tools()


def test_missing_tools_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[str] = []
    monkeypatch.setattr(direct, "on_path", lambda name: [])
    monkeypatch.setattr(direct.apt, "install", installed.extend)
    direct.ensure_tools()
    assert installed == ["erofs-utils"]


def test_a_machine_without_the_package_is_set_up_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(packages: list[str]) -> None:
        raise SetupError("apt-get install", "no such package", "add a source")

    monkeypatch.setattr(direct, "on_path", lambda name: [])
    monkeypatch.setattr(direct.apt, "install", fail)
    direct.ensure_tools()
    assert "Docker engine" in capsys.readouterr().out


# --- Removal, in a tree without real processes ---

NODE = "a-node"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in (
        "run/sandbox-platform/sandboxes",
        "run/sandbox-platform/runsc",
        "var/lib/sandbox-platform/images",
    ):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def make(root: Path, name: str, node: str | None = NODE, *, tree: str = "v1", processes: str = "") -> list[Path]:
    """Make a sandbox's files; return them. `node`: None for one that was not made to the end."""
    folder, states = root / "run/sandbox-platform/sandboxes" / name, root / "run/sandbox-platform/runsc"
    folder.mkdir()
    if node is not None:
        (folder / "sandbox.json").write_text(json.dumps({"node": node, "labels": {}}))
    made = [folder, states / f"{name}_sandbox:{name}.state", states / f"runsc-{name}.sock"]
    for path in made[1:]:
        path.touch()
    for parent in ("",) if tree == "v2" else ("memory", "pids"):
        group = root / "sys/fs/cgroup" / parent / "sandbox-platform" / name
        group.mkdir(parents=True)
        made.append(group)
        if processes:
            (group / "cgroup.procs").write_text(processes)
    return made


@pytest.mark.parametrize("tree", ["v1", "v2"])
def test_sandbox_of_the_node_is_removed_whole(root: Path, tree: str) -> None:
    files = make(root, "one", tree=tree)
    assert direct.remove_sandboxes(NODE, str(root)) == ["one"]
    assert [path for path in files if path.exists()] == []


def test_socket_without_a_sandbox_is_removed(root: Path) -> None:
    stale = root / "run/sandbox-platform/runsc/runsc-gone.sock"
    stale.touch()
    files = make(root, "one", "a-node-dev")
    direct.remove_sandboxes(NODE, str(root))
    assert not stale.exists()
    assert all(path.exists() for path in files)


def test_sandbox_of_another_node_stays(root: Path) -> None:
    files = make(root, "one", "a-node-dev")
    assert direct.remove_sandboxes(NODE, str(root)) == []
    assert all(path.exists() for path in files)


def test_sandbox_that_was_not_made_to_the_end_is_removed_when_it_is_old(root: Path) -> None:
    (folder, *_) = make(root, "one", None)
    assert direct.remove_sandboxes(NODE, str(root)) == []
    os.utime(folder, (1, 1))
    assert direct.remove_sandboxes(NODE, str(root)) == ["one"]


def test_no_folder_is_no_error(tmp_path: Path) -> None:
    assert direct.remove_sandboxes(NODE, str(tmp_path)) == []
    assert direct.remove_all(str(tmp_path)) == []


@pytest.mark.parametrize("tree", ["v1", "v2"])
def test_everything_is_removed_with_what_dead_sandboxes_left(root: Path, tree: str) -> None:
    make(root, "dead", "another", tree=tree)
    assert direct.remove_all(str(root)) == ["/run/sandbox-platform", "/var/lib/sandbox-platform/images"]
    assert not (root / "run/sandbox-platform").exists()
    assert list((root / "sys/fs/cgroup").rglob("sandbox-platform")) == []


@pytest.mark.parametrize("tree", ["v1", "v2"])
def test_nothing_is_removed_while_another_node_has_sandboxes(root: Path, tree: str) -> None:
    make(root, "alive", "another", tree=tree, processes="12\n")
    assert direct.remove_all(str(root)) == []
    assert (root / "var/lib/sandbox-platform/images").exists()


def test_cgroup_without_a_folder_is_removed_when_it_is_old(root: Path) -> None:
    parent = root / "sys/fs/cgroup/memory/sandbox-platform"
    ours, fresh, dockers = (parent / name for name in ("a" * 32, "b" * 32, "c" * 64))
    for group in (ours, fresh, dockers):
        group.mkdir(parents=True)
    for group in (ours, dockers):
        os.utime(group, (1, 1))
    assert direct.remove_sandboxes(NODE, str(root)) == []
    assert sorted(parent.iterdir()) == [fresh, dockers]
