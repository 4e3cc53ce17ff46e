"""The checks of the engine, on fake folders and cgroup trees; test_live.py runs real sandboxes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from runtimes.models import Runtime
from sandbox_platform.doctor import Status, direct, run
from sandboxes.direct import trial
from sandboxes.direct.engine import DirectEngine
from sandboxes.models import Sandbox

MORE_THAN_ENOUGH = "000001ffffffffff"
NAME = "ab" * 16


@pytest.fixture(autouse=True)
def node(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    settings.SANDBOX_ENGINE, settings.SANDBOX_NODE = "direct", "a-node"
    settings.SANDBOX_RUN_DIR, settings.SANDBOX_IMAGE_DIR = tmp_path / "run", tmp_path / "images"
    settings.SANDBOX_CGROUP_ROOT = tmp_path / "cgroup"
    for controller in ("cpu", "cpuacct", "memory", "pids"):
        (tmp_path / "cgroup" / controller).mkdir(parents=True)
    monkeypatch.setattr(direct, "get_engine", DirectEngine)
    monkeypatch.setattr(direct, "GRACE_S", 0)
    yield tmp_path


def test_engine_is_told_with_its_reason(settings: Settings) -> None:
    settings.SANDBOX_ENGINE, settings.SANDBOX_ENGINE_REASON = "docker", "mkfs.erofs is missing"
    assert direct.chosen("engine").detail == "docker: mkfs.erofs is missing"
    settings.SANDBOX_ENGINE_REASON = ""
    assert "SANDBOX_ENGINE" in direct.chosen("engine").detail


@pytest.mark.parametrize("engine", ["docker", "direct"])
def test_checks_of_the_other_engine_are_left_out(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    settings.SANDBOX_ENGINE = engine
    assert set().union(*run.ONLY.values()) < set(run.CHECKS)
    monkeypatch.setattr(run, "run", lambda name, check: name)
    names = set(run.run_all())
    (other,) = set(run.ONLY) - {engine}
    assert run.ONLY[engine] < names
    assert not run.ONLY[other] & names


@pytest.mark.parametrize(
    ("capabilities", "seccomp", "says"),
    [
        (MORE_THAN_ENOUGH, "0", ""),
        ("00000000a80425fb", "0", "lacks SYS_ADMIN"),  # Docker's default
        ("0000000000000000", "0", "KILL, CHOWN"),
        (MORE_THAN_ENOUGH, "2", "seccomp"),
    ],
)
def test_rights(node: Path, monkeypatch: pytest.MonkeyPatch, capabilities: str, seccomp: str, says: str) -> None:
    (node / "status").write_text(f"Name:\tpython3\nCapEff:\t{capabilities}\nSeccomp:\t{seccomp}\n")
    monkeypatch.setattr(direct, "STATUS", node / "status")
    found = direct.rights("rights")
    assert found.status is (Status.BROKEN if says else Status.OK)
    assert says in found.detail
    assert bool(found.fix) == bool(says)


def test_tools_that_are_missing_name_their_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial.images, "available", lambda: False)
    monkeypatch.setattr(trial.runsc, "binary", lambda: "/usr/bin/runsc")
    monkeypatch.setattr(trial.gvisor, "version_of", lambda path: "release-20260824.0")
    found = direct.tools("tools")
    assert (found.status, "mkfs.erofs" in found.detail, "erofs-utils" in found.fix) == (Status.BROKEN, True, True)


def test_cgroup_tree(node: Path) -> None:
    assert direct.cgroups("cgroups").status is Status.OK
    (node / "cgroup/pids").rmdir()
    assert "controller pids" in direct.cgroups("cgroups").detail
    (node / "cgroup/pids").mkdir()
    (node / "cgroup/memory/sandbox-platform").rmdir()
    (node / "cgroup/memory/sandbox-platform").touch()
    found = direct.cgroups("cgroups")
    assert (found.status, "not writable" in found.detail) == (Status.BROKEN, True)


@pytest.mark.parametrize(("check", "folder"), [(direct.run_folder, "run"), (direct.image_folder, "images")])
def test_folder(node: Path, check, folder: str) -> None:
    assert check("folder").status is Status.OK
    (node / folder).rmdir()
    (node / folder).touch()
    assert check("folder").status is Status.BROKEN


def test_images_beyond_their_bound_are_told(node: Path, settings: Settings) -> None:
    settings.SANDBOX_IMAGE_DISK_BYTES = 1024**2
    direct.image_folder("images")
    (node / "images/a.erofs").write_bytes(bytes(2 * 1024**2))
    (node / "images/a.json").write_text("{}")
    found = direct.image_folder("images")
    assert (found.status, "1 images, 2 MiB of 1 MiB" in found.detail) == (Status.WARNING, True)


def sandbox(node: Path, row: object) -> None:
    folder = node / "run/sandboxes" / NAME
    folder.mkdir(parents=True)
    labels = {"sandbox-platform.kind": "sandbox", "sandbox-platform.sandbox": str(row)}
    (folder / "sandbox.json").write_text(json.dumps({"node": "a-node", "labels": labels}))


def test_sandbox_with_a_row_is_not_left_over(node: Path, python_runtime: Runtime) -> None:
    row = Sandbox.objects.create(node="a-node", runtime=python_runtime, runtime_revision=1, profile_sha256="")
    sandbox(node, row.pk)
    assert direct.left_over("left").status is Status.OK


def test_sandbox_without_a_row_is_left_over(node: Path, db: None) -> None:
    sandbox(node, 0)
    found = direct.left_over("left")
    assert (found.status, NAME in found.detail) == (Status.WARNING, True)


def test_folder_without_a_sandbox_is_left_over(node: Path, db: None) -> None:
    (node / "run/sandboxes" / NAME).mkdir(parents=True)
    assert direct.left_over("left").status is Status.WARNING


@pytest.mark.parametrize(
    ("name", "processes", "status"),
    [(NAME, "", Status.WARNING), (NAME, "12\n", Status.OK), ("c" * 64, "", Status.OK)],
)
def test_cgroup_without_a_folder_is_left_over_unless_it_is_of_others(
    node: Path, db: None, name: str, processes: str, status: Status
) -> None:
    group = node / "cgroup/memory/sandbox-platform" / name
    group.mkdir(parents=True)
    (group / "cgroup.procs").write_text(processes)
    assert direct.left_over("left").status is status
