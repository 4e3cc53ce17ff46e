"""SandboxFusion: POST /run_code and POST /run_jupyter.

Source: bytedance/SandboxFusion, sandbox/server/sandbox_api.py and sandbox/runners/types.py. docs/doors.md lists what
differs.
"""

import base64
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from api.compatible import reading
from api.compatible.base import FormatView
from api.compatible.catalogue import runtime_named
from api.compatible.endings import in_compiler, signal_of
from api.compatible.running import program_path, run_to_end, wanted
from api.compatible.sandbox_fusion import schema
from api.v1.problems import Invalid, TooLarge
from executions import places, services, waiting
from executions.files import ARTIFACTS, LONGEST_PATH
from executions.forms import LOWEST
from executions.limits import ceiling
from executions.models import Artifact, Execution, Mode, Status
from executions.representation import timing_headers
from executions.submission import forget_columns
from runtimes.models import MIB, Runtime
from sandbox_platform.kit import formats
from sandbox_platform.kit.units import exact

MOST_FETCHED = 100
PYTHON = "python"
# Seconds that clients send if nobody chose them. Above the runtime's limit, they stand for it.
DEFAULTS = {"run_timeout": 10, "total_timeout": 45}


@cache
def driver() -> str:
    return Path(__file__).with_name("cells.py").read_text()


class FusionView(FormatView):
    format = formats.SANDBOX_FUSION
    http_method_names = ["post", "options"]
    theirs = {
        "runtime": "language",
        "argv": "args",
        "limits.wall_time_ms": "run_timeout",
        "limits.memory_bytes": "memory_limit_MB",
    }

    def runtime_named(self, language: Any) -> Runtime:
        named = language[:50] if isinstance(language, str) else type(language).__name__
        unknown = Invalid("language", f"There is no language {named!r} here.", "")
        return runtime_named(language, self.caller, unknown)

    def answered(
        self,
        request: Callable[[], services.Request],
        told: Callable[[Execution], dict[str, Any]],
        checked: Callable[[], str] | None = None,
    ) -> Response:
        """Run what is requested, and answer with the files that the caller named beside what is told.

        Raises TooLarge, TooManyLargePages, and what run_to_end raises.
        """
        fetched = fetched_files(self.body)
        place = places.PageOf(places.client_id_of(self.request))
        left: dict[str, Artifact] = {}

        def take_place(execution: Execution) -> None:
            left.update(left_of(execution, fetched))
            size = size_of(left)
            if size >= places.LARGE_PAGE_BYTES:
                forget_columns(execution)  # the wait may be long
            place.reading(size, waiting.gives_up(self.request._request))

        # Neither request nor text is kept in a name of this function, which waits for the run.
        execution = run_to_end(self, request(), checked=checked() if checked else None, then=take_place)
        response = Response(told(execution) | {"files": contents_of(left)}, headers=timing_headers(execution))
        place.keep_until_closed(response)
        return response


class RunCodeView(FusionView):
    @extend_schema(
        summary="Run a program",
        operation_id="sandboxfusion_run_code",
        request={"application/json": schema.SandboxFusionRunForm},
        responses=schema.answers(schema.SandboxFusionRanSchema),
        tags=["SandboxFusion"],
    )
    def post(self, request: Request) -> Response:
        return self.answered(self._wanted, ran)

    def _wanted(self) -> services.Request:
        body = self.body
        runtime = self.runtime_named(body.get("language"))
        refuse_long_compilation(body, runtime)
        form = {
            "stdin": "" if body.get("stdin") is None else body["stdin"],
            "argv": texts_of(body, "args"),
            "limits": limits_of(body, "run_timeout", runtime, self),
        }
        return wanted(self, runtime, form | program(text_of(body, "code"), given_files(body), runtime))


class RunJupyterView(FusionView):
    theirs = FusionView.theirs | {"arguments": "cells", "code": "cells", "limits.wall_time_ms": "total_timeout"}

    @extend_schema(
        summary="Run the cells of a notebook",
        operation_id="sandboxfusion_run_jupyter",
        description="In a fresh sandbox, in order, also after one that fails. There is no IPython.",
        request={"application/json": schema.SandboxFusionCellsForm},
        responses=schema.answers(schema.SandboxFusionCellsSchema),
        tags=["SandboxFusion"],
    )
    def post(self, request: Request) -> Response:
        return self.answered(self._wanted, cells_ran, checked=lambda: "\n".join(texts_of(self.body, "cells")))

    def _wanted(self) -> services.Request:
        body = self.body
        if body.get("kernel", "python3") != "python3":
            raise Invalid("kernel", "Only python3.", "")
        number_of(body, "cell_timeout")  # which SandboxFusion does not apply either
        cells = texts_of(body, "cells")
        if not cells:
            raise Invalid("cells", "There are no cells.", "")
        runtime = self.runtime_named(PYTHON)
        form = {
            "mode": Mode.FUNCTION,
            "arguments": {"cells": cells},
            "limits": limits_of(body, "total_timeout", runtime, self),
        }
        return wanted(self, runtime, form | program(driver(), given_files(body), runtime))


def text_of(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise Invalid(name, "Input should be a valid string", "")
    return value


def texts_of(body: dict[str, Any], name: str) -> list[str]:
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Invalid(name, "Input should be a list of strings", "")
    return value


def fetched_files(body: dict[str, Any]) -> list[str]:
    """Return the paths of the files to send back, without those too long for any file: they are kept during the run."""
    return [path for path in texts_of(body, "fetch_files")[:MOST_FETCHED] if len(path) <= LONGEST_PATH]


def given_files(body: dict[str, Any]) -> list[dict[str, str]]:
    """Return the files for a form of /api/v1. Those without a content are left out, as SandboxFusion does."""
    value = body.get("files") or {}
    if not isinstance(value, dict):
        raise Invalid("files", "Input should be a dictionary of contents by path", "")
    files = []
    for path, content in value.items():
        if content is None:
            continue
        if not isinstance(content, str):
            raise Invalid("files", "Each content must be a text in base64.", "")
        try:
            data = reading.unbase64(content)
        except ValueError as e:
            raise Invalid("files", f"The content of {path[:100]!r} is not base64.", "") from e
        files.append({"path": path.removeprefix("./"), "content_base64": base64.b64encode(data).decode()})
    return files


def program(code: str, files: list[dict[str, str]], runtime: Runtime) -> dict[str, Any]:
    """Return the program and the files beside it, for a form of /api/v1."""
    path = program_path(runtime, runtime.source_file, {file["path"] for file in files})
    beside = [file for file in files if file["path"] != path]
    if path == runtime.source_file:
        return {"code": code, "files": beside}
    return {"files": [*beside, {"path": path, "content": code}], "entry": path}


def limits_of(body: dict[str, Any], timeout: str, runtime: Runtime, view: FusionView) -> dict[str, int]:
    limits = {}
    if (seconds := seconds_of(body, timeout)) is not None:
        milliseconds = max(round(seconds * 1000), 1)
        if seconds != DEFAULTS[timeout] or milliseconds <= ceiling(runtime, view.caller, "wall_time_ms")[0]:
            limits["wall_time_ms"] = milliseconds
    # Its client sends -1, and its server takes any number below 1 for none.
    if (megabytes := number_of(body, "memory_limit_MB")) is not None and megabytes > 0:
        least = LOWEST["memory_bytes"] // MIB
        if megabytes < least:
            raise Invalid("memory_limit_MB", f"Input should be greater than or equal to {least}", "")
        limits["memory_bytes"] = round(megabytes * MIB)
    return limits


def number_of(body: dict[str, Any], name: str) -> float | None:
    """Return the number, or None if there is none."""
    if body.get(name) is None:
        return None
    value = reading.number(body[name])
    # Also false of what is no number.
    if not abs(value) < 2**31:
        raise Invalid(name, "Input should be a valid number", "")
    return value


def seconds_of(body: dict[str, Any], name: str) -> float | None:
    """Return the limit; None if there is none, or -1, which stands for none."""
    value = number_of(body, name)
    if value is None or value == -1:
        return None
    if value <= 0:
        raise Invalid(name, "Input should be a number greater than 0", "")
    return value


def refuse_long_compilation(body: dict[str, Any], runtime: Runtime) -> None:
    """Raise Invalid if the compiler is to have more time than the runtime gives it."""
    seconds, most = number_of(body, "compile_timeout"), runtime.compile_wall_ms / 1000
    if seconds is not None and seconds > most and runtime.compile_command:
        raise Invalid("compile_timeout", f"The compiler has {most:g} s here.", "")


def ran(execution: Execution) -> dict[str, Any]:
    compiled = None
    if execution.runtime.compile_command:
        compiled = command(execution) if in_compiler(execution) else finished(0)
    return said(execution) | {
        "compile_result": compiled,
        "run_result": None if in_compiler(execution) else command(execution),
    }


def said(execution: Execution) -> dict[str, Any]:
    succeeded = execution.status == Status.SUCCEEDED
    return {
        "status": "Success" if succeeded else "Failed",
        "message": "" if execution.status == Status.FAILED else execution.message,
        "executor_pod_name": None,
    }


def command(execution: Execution) -> dict[str, Any]:
    """Return how the program, or its compiler, ended. A return code below 0 is a signal, as in Python."""
    ended_by = signal_of(execution)
    seconds = None if execution.run_ms is None else execution.run_ms / 1000
    values = {"stdout": execution.stdout, "stderr": execution.stderr, "execution_time": seconds}
    if execution.status == Status.TIMED_OUT:
        return finished(None) | values | {"status": "TimeLimitExceeded"}
    return finished(execution.exit_code if ended_by is None else -ended_by) | values


def finished(code: int | None) -> dict[str, Any]:
    return {"status": "Finished", "execution_time": None, "return_code": code, "stdout": "", "stderr": ""}


def cells_ran(execution: Execution) -> dict[str, Any]:
    cells = json.loads(execution.result) if execution.result is not None else []
    if not is_of_cells(cells):  # the program can return what it likes
        cells = []
    return said(execution) | {"driver": command(execution), "cells": cells}


def is_of_cells(value: Any) -> bool:
    texts, lists = ("stdout", "stderr"), ("display", "error")
    return isinstance(value, list) and all(
        isinstance(cell, dict)
        and cell.keys() == {*texts, *lists}
        and all(isinstance(cell[name], str) for name in texts)
        and all(isinstance(cell[name], list) for name in lists)
        for cell in value
    )


def left_of(execution: Execution, fetched: list[str]) -> dict[str, Artifact]:
    """Return those of the named files that the program left, by the caller's path and without their contents."""
    names = {path: path.removeprefix("./").removeprefix(f"{ARTIFACTS}/") for path in fetched}
    wanted_names = [name for name in names.values() if "\0" not in name and name.isprintable()]
    if not execution.artifact_count or not wanted_names:
        return {}
    left = {row.name: row for row in execution.artifacts.filter(name__in=wanted_names).defer("content")}
    return {path: left[name] for path, name in names.items() if name in left}


def size_of(left: dict[str, Artifact]) -> int:
    """Return how many bytes the files have. Raises TooLarge."""
    size, most = sum(artifact.size for artifact in left.values()), settings.SANDBOX_MAX_PAGE_BYTES
    if size > most:
        raise TooLarge(
            f"The files of fetch_files have {size:,} bytes; the limit is {exact(most, 'bytes')} (SANDBOX_MAX_PAGE).",
            remedy="Name fewer of them.",
        )
    return size


def contents_of(left: dict[str, Artifact]) -> dict[str, str]:
    """Return the contents in base64, of those that were not purged meanwhile."""
    rows = Artifact.objects.filter(pk__in=[artifact.pk for artifact in left.values()])
    contents = {pk: base64.b64encode(content).decode() for pk, content in rows.values_list("pk", "content")}
    return {path: contents[artifact.pk] for path, artifact in left.items() if artifact.pk in contents}
