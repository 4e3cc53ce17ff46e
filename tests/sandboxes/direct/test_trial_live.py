"""The direct engine on this machine, with real sandboxes."""

from contextlib import closing
from pathlib import Path

import pytest
from pytest_django import Settings

from sandboxes import cgroup
from sandboxes.direct import runsc, trial
from sandboxes.direct.engine import DirectEngine
from sandboxes.engine import SandboxSpec
from sandboxes.layout import KIND_LABEL

pytestmark = [pytest.mark.needs_docker, pytest.mark.timeout(120)]
IMAGE = "sandbox-platform/runtime-python:latest"


@pytest.fixture
def engine(settings: Settings, tmp_path: Path) -> DirectEngine:
    settings.SANDBOX_RUN_DIR = tmp_path
    return DirectEngine()


def test_this_machine_passes_and_keeps_nothing(
    engine: DirectEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []
    monkeypatch.setattr(engine, "start", lambda name: (names.append(name), DirectEngine.start(engine, name)))
    trial.check_tools()
    trial.check_cgroups()
    trial.try_sandbox(engine, IMAGE)
    assert list((tmp_path / "sandboxes").iterdir()) == []
    assert names and not cgroup.names() & set(names)


@pytest.mark.parametrize(("script", "status"), [("exit 3", 3), ("true", 0), ("kill -9 $$", 137)])
def test_exit_status_of_a_sandbox_that_ends_at_once(engine: DirectEngine, script: str, status: int) -> None:
    labels = {KIND_LABEL: "trial"}
    name = engine.create(
        SandboxSpec(image=IMAGE, limits=trial.LIMITS, labels=labels, command=("/bin/sh", "-c", script))
    )
    try:
        with closing(engine.attach(name)):
            engine.start(name)
        assert engine.state_after_end(name).exit_code == status
    finally:
        engine.remove(name)


def test_limit_that_the_kernel_does_not_have_is_noticed(
    engine: DirectEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "memory_limit", lambda name: None)
    with pytest.raises(trial.NotUsable, match="limit"):
        trial.try_sandbox(engine, IMAGE)
    assert engine.containers("trial") == []


def test_old_runsc_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial.gvisor, "version_of", lambda path: "0.0~20240729.0")
    with pytest.raises(trial.NotUsable, match="not current"):
        trial.check_tools()
    monkeypatch.setattr(runsc, "binary", str)
    with pytest.raises(trial.NotUsable, match="missing"):
        trial.check_tools()
