"""Which runsc is called."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django import Settings

from sandboxes.direct import runsc
from sandboxes.engine import EngineError


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Settings) -> Path:
    settings.SANDBOX_RUNSC = ""
    monkeypatch.setattr(runsc, "BUILDS", str(tmp_path))
    monkeypatch.setattr(runsc, "PATH", "")
    return tmp_path


def install(folder: Path, version: str) -> str:
    path = folder / version / "runsc"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\necho runsc version {version}\n")
    path.chmod(0o755)
    return str(path)


def test_newest_of_those_that_were_installed(builds: Path) -> None:
    install(builds, "release-20260824.0")
    newest = install(builds, "release-20260901.0")
    assert runsc.binary() == newest


def test_one_that_holds_its_filters_compiled_comes_before_a_plain_build(builds: Path) -> None:
    fast = install(builds, "v0.0.0-20260905035102-160fafc42237+filters")
    install(builds, "v0.0.0-20260905035102-160fafc42237")
    assert runsc.binary() == fast


def test_what_is_set_comes_first(builds: Path, settings: Settings) -> None:
    install(builds, "release-20260824.0")
    settings.SANDBOX_RUNSC = "/opt/runsc"
    assert runsc.binary() == "/opt/runsc"


def test_one_in_the_path_comes_last(builds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runsc.binary() == ""
    monkeypatch.setattr(runsc, "PATH", str(Path(install(builds, "x")).parent))
    monkeypatch.setattr(runsc, "BUILDS", "/nowhere")
    assert runsc.binary() == str(builds / "x" / "runsc")


def test_process_follows_an_upgrade(builds: Path) -> None:
    old = install(builds, "release-20260824.0")
    called = runsc.Runsc()
    assert called.version() == "release-20260824.0"
    install(builds, "release-20260901.0")
    os.unlink(old)
    assert called.version() == "release-20260901.0"


def test_missing_runsc_names_its_fix(builds: Path) -> None:
    with pytest.raises(EngineError, match="make setup"):
        runsc.Runsc().version()


@pytest.fixture
def called(settings: Settings, tmp_path: Path) -> Callable[[str], runsc.Runsc]:
    """A runsc that does what the script says."""

    def make(script: str) -> runsc.Runsc:
        path = tmp_path / "runsc"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        settings.SANDBOX_RUNSC = str(path)
        settings.SANDBOX_RUN_DIR = tmp_path
        return runsc.Runsc()

    return make


def start(called: runsc.Runsc, folder: Path) -> None:
    called.run("name", folder, [], [subprocess.DEVNULL] * 3)


def test_start_that_fails_says_why(called: Callable[[str], runsc.Runsc], tmp_path: Path) -> None:
    (tmp_path / "runsc.log").write_text("no such image")
    with pytest.raises(EngineError, match="no such image"):
        start(called("exit 128"), tmp_path)


def test_start_that_fails_in_silence_says_its_status(called: Callable[[str], runsc.Runsc], tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="exit status 128"):
        start(called("exit 128"), tmp_path)


def test_start_that_hangs_is_ended(
    called: Callable[[str], runsc.Runsc], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runsc, "TIMEOUT_S", 0.1)
    with pytest.raises(EngineError, match="exit status -9"):
        start(called("exec sleep 60"), tmp_path)


def test_files_of_a_sandbox_are_removed_without_a_process(settings: Settings, tmp_path: Path) -> None:
    settings.SANDBOX_RUNSC, settings.SANDBOX_RUN_DIR = "/bin/false", tmp_path
    root = tmp_path / "runsc"
    root.mkdir()
    others = root / "other_sandbox:other.state"
    for file in (
        *(root / f"name_sandbox:name.{end}" for end in ("state", "lock")),
        root / "runsc-name.sock",
        others,
    ):
        file.touch()
    runsc.Runsc().delete("name")
    assert list(root.iterdir()) == [others]


def test_runsc_removes_what_another_version_of_it_left(settings: Settings, tmp_path: Path) -> None:
    script = tmp_path / "runsc.sh"
    script.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n')
    script.chmod(0o755)
    settings.SANDBOX_RUNSC, settings.SANDBOX_RUN_DIR = str(script), tmp_path
    runsc.Runsc().delete("name")
    assert (tmp_path / "called").read_text().endswith("delete --force name\n")


def test_of_a_start_that_was_killed_nothing_is_left(settings: Settings, tmp_path: Path) -> None:
    settings.SANDBOX_RUNSC, settings.SANDBOX_RUN_DIR = "/bin/false", tmp_path
    root = tmp_path / "runsc"
    root.mkdir()
    # It had no state yet.
    (root / "name_sandbox:name.lock").touch()
    (root / "runsc-name.sock").touch()
    runsc.Runsc().delete("name")
    assert not list(root.iterdir())
