import sys
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest

from scripts import dev
from scripts.setup import envfile
from tests.live import eventually


def test_when_one_process_ends_the_others_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    children = {}
    spawn = dev.spawn

    def remember(name: str, command: list[str], env: dict[str, str]) -> object:
        children[name] = spawn(name, command, env)
        return children[name]

    def commands() -> dict[str, list[str]]:
        return {
            "web": [sys.executable, "-c", "import time; time.sleep(600)"],
            "worker": [sys.executable, "-c", "print('so long')"],
        }

    monkeypatch.setattr(dev, "spawn", remember)
    monkeypatch.setattr(dev, "commands", commands)
    assert dev.supervise({}) == 1
    assert {name: child.returncode for name, child in children.items()} == {"web": -SIGTERM, "worker": 0}


def test_a_child_that_ignores_the_signal_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dev, "GRACE_SECONDS", 0.5)
    deaf = tmp_path / "deaf"
    code = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "pathlib.Path(sys.argv[1]).touch()\n"
        "time.sleep(600)"
    )
    child = dev.spawn("stubborn", [sys.executable, "-c", code, str(deaf)], {})
    eventually(deaf.exists, "it ignores the signal")
    dev.stop({"stubborn": child})
    assert child.wait(60) == -SIGKILL


def test_the_environment_wins_over_the_file_but_a_container_address_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(envfile, "read", lambda: {"SANDBOX_WORKERS": "8", "SANDBOX_NODE": "host", "EMPTY": ""})
    monkeypatch.setenv("SANDBOX_WORKERS", "2")
    monkeypatch.delenv("SANDBOX_NODE", raising=False)
    env = dev.environment()
    assert env["SANDBOX_WORKERS"] == "2"
    assert env["SANDBOX_NODE"].endswith("-dev")
    assert "EMPTY" not in env
