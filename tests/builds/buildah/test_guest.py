"""What a build's sandbox is given. What that means is tried in test_engine_live."""

from pathlib import Path

import pytest

from builds.buildah.guest import FLAGS, Program, config
from builds.engine import CAPABILITIES

INSTALL = Program(("/bin/sh", "/run/build/build.sh"), {"LANG": "C"}, 0, capable=True)
FETCH = Program(("python3", "fetch.py"), {}, 10001, capable=False, folder="/fetch", door=Path("/build/door"))
BOTH = pytest.mark.parametrize("program", [INSTALL, FETCH], ids=["install", "fetch"])


@BOTH
def test_nothing_of_the_machine_is_mounted_but_the_door(program: Program) -> None:
    mounts = config(Path("/root"), program)["mounts"]
    bound = [(mount["source"], mount["options"]) for mount in mounts if mount["type"] == "bind"]
    assert bound == ([("/build/door", ["rbind", "ro"])] if program.door else [])


@BOTH
def test_namespaces_are_new(program: Program) -> None:
    namespaces = config(Path("/root"), program)["linux"]["namespaces"]
    assert {each["type"] for each in namespaces} == {"pid", "network", "ipc", "uts", "mount"}
    assert not any("path" in each for each in namespaces)


def test_installers_have_the_capabilities_of_dpkg_and_no_more() -> None:
    process = config(Path("/root"), INSTALL)["process"]
    assert process["capabilities"]["bounding"] == [f"CAP_{name}" for name in CAPABILITIES]
    assert (process["user"]["uid"], process["noNewPrivileges"]) == (0, True)


def test_who_fetches_has_no_capability_and_is_not_root() -> None:
    process = config(Path("/root"), FETCH)["process"]
    assert set(map(tuple, process["capabilities"].values())) == {()}
    assert (process["user"]["uid"], process["cwd"]) == (10001, "/fetch")


def test_environment_is_the_images_and_nothing_of_the_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "planted")
    environment = config(Path("/root"), INSTALL)["process"]["env"]
    assert {entry.partition("=")[0] for entry in environment} == {"PATH", "LANG"}


def test_files_are_opened_by_a_process_of_their_own() -> None:
    assert "--directfs=false" in FLAGS
