"""Smoke programs: small programs with their expected ends. Run by the tests, by probes and when an image changes."""

import json
from collections.abc import Mapping
from typing import Any

LARGEST = 50
# Characters of an unexpected value in a message: the value may be a program's whole output.
MAX_SHOWN = 200
# Allowed types by field. Fields that a submission over the API also has mean the same as there.
FIELDS: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "code": (str,),
    "mode": (str,),
    "stdin": (str,),
    "argv": (list,),
    "arguments": (dict,),
    "files": (dict,),
    "limits": (dict,),
    "expect": (dict,),
}
# Expectations about the execution, by field. `stderr` must contain the expected text, the others must be equal.
EXPECTED: dict[str, tuple[type, ...]] = {
    "status": (str,),
    "outcome": (str,),
    "exit_code": (int,),
    "stdout": (str,),
    "stderr": (str,),
    "result": (dict, list, str, int, float, bool, type(None)),
    "artifacts": (list,),
}


def check(programs: Any) -> None:
    """Validate a list of programs. Raises ValueError, which names the program and the field."""
    if not isinstance(programs, list) or len(programs) > LARGEST:
        raise ValueError(f"smoke: must be a list of at most {LARGEST} programs")
    names = set()
    for number, program in enumerate(programs):
        where = f"smoke.{number}"
        _check_table(program, FIELDS, where)
        for name in ("name", "code", "expect"):
            if name not in program:
                raise ValueError(f"{where}.{name}: is missing")
        _check_table(program["expect"], EXPECTED, f"{where}.expect")
        if program["name"] in names:
            raise ValueError(f"{where}.name: {program['name']!r} is used twice")
        names.add(program["name"])


def _check_table(table: Any, known: dict[str, tuple[type, ...]], where: str) -> None:
    if not isinstance(table, dict):
        raise ValueError(f"{where}: must be a table")
    for name, value in table.items():
        if name not in known:
            raise ValueError(f"{where}.{name}: unknown key; known: {', '.join(known)}")
        # In Python a bool is an int; in a program it is not.
        if not isinstance(value, known[name]) or (isinstance(value, bool) and bool not in known[name]):
            raise ValueError(f"{where}.{name}: must be of type {known[name][0].__name__}")


def submission(program: dict[str, Any], runtime: str) -> dict[str, Any]:
    """Return the program as a body for POST /api/v1/executions."""
    body = {"runtime": runtime} | {k: v for k, v in program.items() if k not in ("name", "expect", "files")}
    files = program.get("files", {})
    return body | {"files": [{"path": path, "content": content} for path, content in files.items()]}


def disagreements(program: Mapping[str, Any], execution: Mapping[str, Any], artifacts: list[str]) -> list[str]:
    """Return how an execution, in the API's format, differs from the expectation; [] if it does not."""
    expected = {"status": "succeeded"} | program["expect"]
    found = []
    for name, wanted in expected.items():
        got = artifacts if name == "artifacts" else execution[name]
        if not (wanted in got if name == "stderr" else wanted == got):
            found.append(f"{name} is {_shown(got)}, not {_shown(wanted)}")
    return found


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def succeeds(program: Mapping[str, Any]) -> bool:
    """Return whether the program is expected to succeed. Only such a program can show that a filter breaks it."""
    return bool(program["expect"].get("status", "succeeded") == "succeeded")


def is_pure(program: Mapping[str, Any]) -> bool:
    """Return whether the program only computes a value from its arguments, without files and artifacts."""
    return program.get("mode") == "function" and not program.get("files") and "artifacts" not in program["expect"]
