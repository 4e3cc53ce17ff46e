"""Which engine a start of the stack chooses, and which Compose files follow from it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.setup import compose, engine, stack
from scripts.setup.engine import Choice
from scripts.setup.host import Command, SetupError


@pytest.fixture(autouse=True)
def env(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    settings: dict[str, str] = {}
    monkeypatch.setattr(engine, "STATE", tmp_path)
    monkeypatch.setattr(engine, "CHOICE", tmp_path / "engine.json")
    monkeypatch.setattr(engine.envfile, "settings", lambda: settings)
    return settings


def trial(script: str) -> Callable[[str], Command]:
    return lambda image: ["sh", "-c", script, image]


def never(image: str) -> Command:
    pytest.fail(f"tried with {image}")


@pytest.mark.parametrize("name", ["docker", "direct"])
def test_engine_that_is_named_is_not_tried(env: dict[str, str], name: str) -> None:
    env["SANDBOX_ENGINE"] = name
    assert engine.choose("an image", never) == Choice(name, "SANDBOX_ENGINE names it")


def test_unknown_name_is_refused(env: dict[str, str]) -> None:
    env["SANDBOX_ENGINE"] = "podman"
    with pytest.raises(SetupError, match="podman"):
        engine.choose("an image", never)


def test_trial_that_succeeds_chooses_direct(env: dict[str, str]) -> None:
    env["SANDBOX_ENGINE"] = ""
    script = 'echo " Container created" >&2; echo "tried with $0"'
    assert engine.choose("image", trial(script)) == Choice("direct", "tried with image")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo the tree is not writable; exit 1", "the tree is not writable"),
        ("echo docker has no such option >&2; exit 125", "docker has no such option"),
        ("exit 1", "no answer"),
    ],
)
def test_trial_that_fails_chooses_docker_and_says_why(script: str, reason: str) -> None:
    choice = engine.choose("image", trial(script))
    assert choice == Choice("docker", f"the direct engine does not work here: {reason}")


def test_without_an_image_nothing_can_be_tried() -> None:
    assert engine.choose("", never).engine == "docker"


def test_choice_is_remembered() -> None:
    assert engine.present() == Choice("docker", "the stack was not started yet")
    engine.remember(Choice("direct", "it works"))
    assert engine.present() == Choice("direct", "it works")


def test_stack_of_the_direct_engine_has_its_file() -> None:
    assert compose.files({}, "docker") == "docker-compose.yml"
    assert compose.files({}, "direct") == "docker-compose.yml:docker-compose.direct.yml"
    theirs = "docker-compose.yml:docker-compose.ragflow.yml"
    assert compose.files({"COMPOSE_FILE": theirs}, "direct") == f"{theirs}:docker-compose.direct.yml"
    assert compose.files({"COMPOSE_FILE": compose.DIRECT_FILE}, "direct") == compose.DIRECT_FILE


def test_sudo_does_not_clear_what_compose_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "cli", lambda: "/usr/bin/docker")
    monkeypatch.setattr(compose, "command", lambda *words: ["sudo", "-n", "--", "/usr/bin/docker", *words])
    line = compose.compose("ps", choice=Choice("direct", "it works"))
    assert line[:4] == ["sudo", "-n", "--", "env"]
    assert line[-3:] == ["/usr/bin/docker", "compose", "ps"]
    assert "SANDBOX_ENGINE_REASON=it works" in line


@pytest.mark.parametrize(("before", "stops"), [("docker", True), ("direct", False)])
def test_running_stack_of_another_engine_is_stopped(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch, before: str, stops: bool
) -> None:
    env["SANDBOX_ENGINE"] = "direct"
    engine.remember(Choice(before, ""))
    stopped: list[str] = []
    monkeypatch.setattr(stack, "stop", lambda: stopped.append(engine.present().engine))
    monkeypatch.setattr(stack, "services", lambda: {"keeper": {"State": "running"}})
    monkeypatch.setattr(stack.images, "built_runtimes", lambda: ["lua", "python"])
    stack.choose_engine()
    assert stopped == ["docker"] * stops  # stopped as what it was started as
    assert engine.present().engine == "direct"


@pytest.mark.parametrize(
    ("built", "image"),
    [
        (["lua", "python"], "sandbox-platform/runtime-python:latest"),
        (["lua"], "sandbox-platform/runtime-lua:latest"),
        ([], ""),
    ],
)
def test_image_of_the_trial(monkeypatch: pytest.MonkeyPatch, built: list[str], image: str) -> None:
    monkeypatch.setattr(stack.images, "built_runtimes", lambda: built)
    assert stack._image_to_try() == image
