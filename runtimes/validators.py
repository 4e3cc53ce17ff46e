"""What the fields of a runtime may hold."""

import re
import shlex
from typing import Any

from django.core.exceptions import ValidationError

from runtimes import smoke

ALIAS = r"^[A-Za-z0-9_+#-]+\Z"  # C++ and C# have names of their own
ALIAS_HINT = "Letters, digits and _ - + # only."
MODES = ("script", "function")
INSTALLERS = ("apt", "pip", "npm")
# Of a package, with a version perhaps: no option, and one word.
PACKAGE = re.compile(r"[A-Za-z0-9@][A-Za-z0-9@._+~:/\[\]=<>!,-]*")


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


def validate_packages(value: Any) -> None:
    if not isinstance(value, dict) or not set(value) <= set(INSTALLERS):
        raise ValidationError(f"Must be a JSON object with lists under {', '.join(INSTALLERS)}.")
    for installer, names in value.items():
        if not isinstance(names, list) or not all(
            isinstance(name, str) and PACKAGE.fullmatch(name) for name in names
        ):
            raise ValidationError(f'{installer}: must be a list of names, like ["jq"].')


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
