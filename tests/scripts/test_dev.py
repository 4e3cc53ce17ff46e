import sys
import time

import pytest

from scripts import dev
from scripts.setup import envfile


def test_when_one_process_ends_the_others_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    children = {}
    spawn = dev.spawn

    def remember(name: str, command: list[str], env: dict[str, str]) -> object:
        children[name] = spawn(name, command, env)
        return children[name]

    def commands() -> dict[str, list[str]]:
        return {
            "web": [sys.executable, "-c", "import time; time.sleep(60)"],
            "worker": [sys.executable, "-c", "print('so long')"],
        }

    monkeypatch.setattr(dev, "spawn", remember)
    monkeypatch.setattr(dev, "commands", commands)
    started = time.monotonic()
    assert dev.supervise({}) == 1
    assert time.monotonic() - started < 10
    assert all(child.poll() is not None for child in children.values())


def test_a_child_that_ignores_the_signal_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev, "GRACE_SECONDS", 0.5)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    child = dev.spawn("stubborn", [sys.executable, "-c", code], {})
    time.sleep(0.5)
    dev.stop({"stubborn": child})
    assert child.wait(5) == -9


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
