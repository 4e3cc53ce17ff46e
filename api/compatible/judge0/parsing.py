"""Judge0's submission into a form of /api/v1."""

import math
import shlex
from collections.abc import Callable
from typing import Any

from django.utils.crypto import salted_hmac

from api.compatible import reading
from api.v1.problems import Invalid
from executions.forms import LOWEST
from sandbox_platform.kit import formats

# The answer that the caller expects is not kept, only what tells whether the program printed it.
(EXPECTED,) = formats.JUDGE0.own_labels
SWITCHES = (
    "enable_network",
    "redirect_stderr_to_stdout",
    "enable_per_process_and_thread_time_limit",
    "enable_per_process_and_thread_memory_limit",
)
NOT_ALLOWED = {
    "compiler_options": "setting compiler options is not allowed",
    "additional_files": "additional files are not allowed",
    "callback_url": "callbacks are not allowed: GET the submission, or wait",
}
KIB = 1024
# Splitting takes time with the square of a word's length: 30 s for a megabyte.
LONGEST_ARGUMENTS = 32_768


def form_of(body: dict[str, Any], *, base64_encoded: bool, as_stored: Callable[[str], str]) -> dict[str, Any]:
    """Return the form without its runtime. Raises Invalid with Judge0's field.

    `as_stored`: returns what is stored of an output, with which the output of the program is compared.
    """
    code = _text(body, "source_code", base64_encoded)
    if not code:
        raise Invalid("source_code", "can't be blank", "")
    _refuse_what_is_not_allowed(body)
    expected = _text(body, "expected_output", base64_encoded)
    limits = {
        "cpu_time_ms": _limit(body, "cpu_time_limit", 1000),
        "wall_time_ms": _limit(body, "wall_time_limit", 1000),
        "memory_bytes": _limit(body, "memory_limit", KIB),
    }
    least = LOWEST["memory_bytes"]
    if limits["memory_bytes"] is not None and limits["memory_bytes"] < least:
        raise Invalid("memory_limit", f"must be greater than or equal to {least // KIB}", "")
    return {
        "code": code,
        "stdin": _text(body, "stdin", base64_encoded) or "",
        "argv": _arguments(body),
        "limits": {name: value for name, value in limits.items() if value is not None},
        "labels": {} if expected is None else {EXPECTED: fingerprint(as_stored(expected))},
    }


def language_id(body: dict[str, Any]) -> int:
    value = body.get("language_id")
    if value is None or value == "":
        raise Invalid("language_id", "can't be blank", "")
    if isinstance(value, str) and len(value) < 10 and value.isascii() and value.isdigit():
        return int(value)
    if type(value) is not int:
        raise Invalid("language_id", "is not a number", "")
    return value


def fingerprint(output: str) -> str:
    """Return what is equal for two outputs that differ only in blanks at the ends of lines and of the text.

    Its key is not in the database: whoever reads the label could otherwise guess the output.
    """
    text = "\n".join(line.rstrip() for line in output.split("\n")).rstrip()
    return salted_hmac(EXPECTED, text.encode("utf-8", "surrogatepass"), algorithm="sha256").hexdigest()


def _text(body: dict[str, Any], name: str, base64_encoded: bool) -> str | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise Invalid(name, "is not a text", "")
    if not base64_encoded:
        return value
    try:
        return reading.unbase64(value).decode()
    except ValueError as e:
        raise Invalid(name, "is not base64 of a text in UTF-8", "") from e


def _refuse_what_is_not_allowed(body: dict[str, Any]) -> None:
    for name in SWITCHES:
        if body.get(name) not in (None, False, "", "false", 0, "0"):
            raise Invalid(name, "this option cannot be enabled", "")
    for name, why in NOT_ALLOWED.items():
        if body.get(name) not in (None, ""):
            raise Invalid(name, why, "")
    if body.get("number_of_runs") not in (None, "", 1, "1"):
        raise Invalid("number_of_runs", "must be less than or equal to 1", "")


def _limit(body: dict[str, Any], name: str, factor: int) -> int | None:
    value = body.get(name)
    if value is None or value == "":
        return None
    ours = reading.number(value, in_text=True) * factor
    if not math.isfinite(ours):
        raise Invalid(name, "is not a number", "")
    if ours <= 0:
        raise Invalid(name, "must be greater than 0", "")
    return max(round(ours), 1)


def _arguments(body: dict[str, Any]) -> list[str]:
    value = body.get("command_line_arguments")
    if value is None:
        return []
    try:
        if not isinstance(value, str):
            raise ValueError("is not a text")
        if len(value) > LONGEST_ARGUMENTS:
            raise ValueError(f"is too long (maximum is {LONGEST_ARGUMENTS} characters)")
        return shlex.split(value)
    except ValueError as e:
        raise Invalid("command_line_arguments", str(e).lower(), "") from e
