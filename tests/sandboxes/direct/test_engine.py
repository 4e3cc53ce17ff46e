"""The direct engine where the host refuses it something."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from pytest_django import Settings

from sandboxes import cgroup
from sandboxes.direct.engine import DirectEngine
from sandboxes.docker_engine import DockerEngine
from sandboxes.engine import EngineError

CALLS: dict[str, Callable[[DirectEngine], Any]] = {
    "kill": lambda engine: engine.kill("0" * 32),
    "remove": lambda engine: engine.remove("0" * 32),
    "state": lambda engine: engine.state_after_end("0" * 32),
}


@pytest.mark.parametrize("call", CALLS)
def test_unreadable_cgroup_is_an_engine_error(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    settings.SANDBOX_RUN_DIR = tmp_path

    def refused(_sandbox: str) -> list[int]:
        raise PermissionError("cgroup.procs")

    # Root, as which the tests run, is refused nothing.
    monkeypatch.setattr(cgroup, "processes", refused)
    monkeypatch.setattr(cgroup, "_own", lambda _sandbox: [])
    with pytest.raises(EngineError, match=r"cgroup\.procs"):
        CALLS[call](DirectEngine(images=cast(DockerEngine, object())))
