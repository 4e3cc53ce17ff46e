"""Which runsc is called."""

import os
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
