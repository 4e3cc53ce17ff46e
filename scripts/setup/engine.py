"""Choose the engine of the stack: the one that .env names, else the direct engine if a trial shows that it works."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from scripts.setup import envfile
from scripts.setup.host import STATE, Command, SetupError, run

DOCKER, DIRECT = "docker", "direct"
CHOICE = STATE / "engine.json"
# Seconds on most machines. Where the machine is slow, unpacking the image takes the longest.
TRIAL_TIMEOUT_S = 1800


@dataclass(frozen=True)
class Choice:
    engine: str
    reason: str  # shown by the doctor


def named() -> Choice | None:
    """Return the choice that .env or the environment makes, if any. Raises SetupError."""
    name = envfile.settings().get("SANDBOX_ENGINE", "").strip()
    if name not in ("", DOCKER, DIRECT):
        raise SetupError(
            "SANDBOX_ENGINE", f"{name!r} is not an engine", "set it to docker or direct, or leave it empty"
        )
    return Choice(name, "SANDBOX_ENGINE names it") if name else None


def present() -> Choice:
    """Return the engine of the last start."""
    try:
        return Choice(**json.loads(CHOICE.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return named() or Choice(DOCKER, "the stack was not started yet")


def choose(image: str, trial: Callable[[str], Command]) -> Choice:
    """Choose the engine. `trial` returns a command that tries the direct engine with an image."""
    return named() or _tried(image, trial)


def remember(choice: Choice) -> None:
    STATE.mkdir(exist_ok=True)
    CHOICE.write_text(json.dumps(asdict(choice)), encoding="utf-8")


def _tried(image: str, trial: Callable[[str], Command]) -> Choice:
    if not image:
        return Choice(DOCKER, "there was no runtime's image to try the direct engine with")
    done = run(trial(image), timeout=TRIAL_TIMEOUT_S)
    # Compose writes what it does to stderr, and the trial one line to stdout.
    said = (done.stdout.strip() or done.stderr.strip() or "no answer").splitlines()[-1]
    if done.returncode == 0:
        return Choice(DIRECT, said)
    if done.returncode == 124:
        said = f"its trial did not end within {TRIAL_TIMEOUT_S} s"
    return Choice(DOCKER, f"the direct engine does not work here: {said}")
