"""Validators of a runtime's fields."""

import shlex
from typing import Any

from django.core.exceptions import ValidationError

from runtimes import smoke

ALIAS = r"^[A-Za-z0-9_+#-]+\Z"  # + and # for C++ and C#
ALIAS_HINT = "Letters, digits and _ - + # only."
MODES = ("script", "function")


def validate_command(value: str) -> None:
    try:
        words = shlex.split(value)
    except ValueError as e:
        raise ValidationError(f"Not a command: {e}. Words are quoted as in a shell.") from e
    if value and not words:
        raise ValidationError("The command is empty.")
    if "\0" in value:
        raise ValidationError("Contains a NUL character.")


def validate_modes(value: list[str]) -> None:
    if not value or not set(value) <= set(MODES) or len(set(value)) < len(value):
        raise ValidationError(f"Must be one or both of: {', '.join(MODES)}.")


def validate_smoke(value: Any) -> None:
    try:
        smoke.check(value)
    except ValueError as e:
        raise ValidationError(str(e)) from e


def validate_commands(runtime: Any) -> None:
    """Raise ValidationError unless the runtime has exactly the commands that its runner needs."""
    if runtime.runner == "native":
        for name in ("compile_command", "run_command", "function_command"):
            if getattr(runtime, name):
                raise ValidationError({name: "A native runner has no commands: leave this empty."})
        return
    if not runtime.run_command:
        raise ValidationError(
            {"run_command": f"The runner {runtime.runner} needs a run command, e.g. ruby {{source}}."}
        )
    if runtime.runner == "shell":
        if runtime.network != "none":
            raise ValidationError({"network": "A runtime with the runner shell cannot have egress."})
        for name in ("compile_command", "function_command"):
            if getattr(runtime, name):
                raise ValidationError({name: "A runtime with the runner shell has only a run command."})
    if "function" in runtime.modes and not runtime.function_command:
        raise ValidationError({"modes": "The mode function needs a function command."})
