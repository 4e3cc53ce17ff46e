"""What the fields of a runtime may hold."""

import shlex
from typing import Any

from django.core.exceptions import ValidationError

from runtimes import smoke

# Migrations name it here.
from runtimes.packages import validate_packages as validate_packages

ALIAS = r"^[A-Za-z0-9_+#-]+\Z"  # C++ and C# have names of their own
ALIAS_HINT = "Letters, digits and _ - + # only."
MODES = ("script", "function")


def validate_command(value: str) -> None:
    try:
        words = shlex.split(value)
    except ValueError as e:
        raise ValidationError(f"Not a command: {e}. Words are quoted as in a shell.") from e
    if value and not words:
        raise ValidationError("Holds no word.")
    if "\0" in value:
        raise ValidationError("Holds a NUL character.")


def validate_modes(value: list[str]) -> None:
    if not value or not set(value) <= set(MODES) or len(set(value)) < len(value):
        raise ValidationError(f"One or both of: {', '.join(MODES)}.")


def validate_smoke(value: Any) -> None:
    try:
        smoke.check(value)
    except ValueError as e:
        raise ValidationError(str(e)) from e


def validate_commands(runtime: Any) -> None:
    """Those that its runner needs, and no others."""
    if runtime.runner == "native":
        for name in ("compile_command", "run_command", "function_command"):
            if getattr(runtime, name):
                raise ValidationError({name: "A native runner has no use for it: leave it empty."})
        return
    if not runtime.run_command:
        raise ValidationError({"run_command": f"The runner {runtime.runner} needs one, e.g. ruby {{source}}."})
    if runtime.runner == "shell":
        if runtime.network != "none":
            raise ValidationError({"network": "Without a runner in the image nothing can carry requests out."})
        for name in ("compile_command", "function_command"):
            if getattr(runtime, name):
                raise ValidationError({name: "Without a runner there is only the run command."})
    if "function" in runtime.modes and not runtime.function_command:
        raise ValidationError({"modes": "Without a function command there is only the mode script."})
