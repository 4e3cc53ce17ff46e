"""Piston: POST /api/v2/execute, GET /api/v2/runtimes and /api/v2/packages.

Source: engineer-man/piston, api/src/api/v2.js and job.js. docs/doors.md lists what differs.
"""

import base64
from pathlib import PurePath
from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from api.compatible import reading
from api.compatible.base import FormatView
from api.compatible.catalogue import runtime_named
from api.compatible.endings import code_and_signal, in_compiler, word_of
from api.compatible.running import run_to_end, wanted
from api.compatible.versions import fits, version_of
from api.v1 import problems
from clients.admission import usable
from executions import services
from executions.models import Execution
from executions.representation import timing_headers
from runtimes.models import Runtime
from sandbox_platform.kit import formats
from sandbox_platform.kit.fields import Whole
from sandbox_platform.kit.schemas import Names, Schema


class PistonFileForm(serializers.Serializer):  # type: ignore[type-arg]
    name = serializers.CharField(required=False, help_text="Without one, the program gets the runtime's.")
    content = serializers.CharField(allow_blank=True)
    encoding = serializers.CharField(required=False, help_text="`utf8`, `base64` or `hex`.")


class PistonExecuteForm(serializers.Serializer):  # type: ignore[type-arg]
    """For the schema: the view reads the body as Piston does."""

    language = serializers.CharField(help_text="A runtime's slug or alias.")
    version = serializers.CharField(help_text="A version or a range, such as `3.x`; `*` for any.")
    files = serializers.ListField(
        child=PistonFileForm(), min_length=1, help_text="The first that is a text is the program."
    )
    stdin = serializers.CharField(required=False, allow_blank=True)
    args = serializers.ListField(child=serializers.CharField(allow_blank=True), required=False)
    run_timeout = Whole(required=False, help_text="Milliseconds of wall time.")
    run_cpu_time = Whole(required=False, help_text="Milliseconds of CPU time.")
    run_memory_limit = Whole(required=False, help_text="Bytes; -1 for the runtime's limit.")
    compile_timeout = Whole(required=False, help_text="At most the runtime's; no lower limit is applied.")
    compile_cpu_time = Whole(required=False, help_text="At most the runtime's; no lower limit is applied.")
    compile_memory_limit = Whole(required=False, help_text="At most the runtime's; no lower limit is applied.")


class PistonStageSchema(Schema):
    stdout = serializers.CharField()
    stderr = serializers.CharField()
    output = serializers.CharField(help_text="stdout, then stderr: their order is not kept.")
    code = serializers.IntegerField(allow_null=True)
    signal = serializers.CharField(allow_null=True)
    message = serializers.CharField(allow_null=True)
    status = serializers.CharField(allow_null=True, help_text="`RE`, `SG`, `TO`, `OL` or `EL`.")
    cpu_time = serializers.IntegerField(allow_null=True, help_text="Milliseconds.")
    wall_time = serializers.IntegerField(allow_null=True, help_text="Milliseconds.")
    memory = serializers.IntegerField(allow_null=True, help_text="Bytes.")


class PistonExecutedSchema(Schema):
    language = serializers.CharField()
    version = serializers.CharField()
    run = PistonStageSchema()
    compile = PistonStageSchema(required=False, help_text="Only of compiled languages.")


class PistonRuntimeSchema(Schema):
    language = serializers.CharField()
    version = serializers.CharField()
    aliases = Names()


class PistonPackageSchema(Schema):
    language = serializers.CharField()
    language_version = serializers.CharField()
    installed = serializers.BooleanField()


class PistonMessageSchema(Schema):
    message = serializers.CharField()


def refusals(*statuses: int) -> dict[Any, Any]:
    return {status: OpenApiResponse(PistonMessageSchema) for status in (401, 403, 500, 503, *statuses)}


def answers(success: Any, *statuses: int) -> dict[Any, Any]:
    return {200: success} | refusals(*statuses)


class PistonView(FormatView):
    format = formats.PISTON
    theirs = {
        "runtime": "language",
        "code": "files",
        "entry": "files",
        "argv": "args",
        "limits.wall_time_ms": "run_timeout",
        "limits.cpu_time_ms": "run_cpu_time",
        "limits.memory_bytes": "run_memory_limit",
    }


class ExecuteView(PistonView):
    http_method_names = ["post", "options"]

    @extend_schema(
        summary="Run a program",
        operation_id="piston_execute",
        request={"application/json": PistonExecuteForm},
        responses=answers(PistonExecutedSchema, 400, 413, 415, 429),
        tags=["Piston"],
    )
    def post(self, request: Request) -> Response:
        execution = run_to_end(self, self._wanted())
        return Response(executed(execution), headers=timing_headers(execution))

    def _wanted(self) -> services.Request:
        body = self.body
        for name in ("language", "version"):
            if not isinstance(body.get(name), str) or not body[name]:
                raise problems.Malformed(f"{name} is required as a string")
        runtime = self._runtime(body["language"], body["version"])
        for name, most in (
            ("compile_timeout", runtime.compile_wall_ms),
            ("compile_cpu_time", runtime.compile_cpu_ms),
            ("compile_memory_limit", runtime.memory_bytes),
        ):
            if (value := limit(body, name)) is not None and value > most:
                raise problems.Malformed(f"{name} cannot exceed the configured limit of {most}")
        files, program = files_of(body.get("files"), runtime)
        limits = {
            "wall_time_ms": limit(body, "run_timeout"),
            "cpu_time_ms": limit(body, "run_cpu_time"),
            "memory_bytes": limit(body, "run_memory_limit"),
        }
        form = {
            "files": files,
            "entry": program,
            "stdin": with_line_end(given(body, "stdin", "")),
            "argv": given(body, "args", []),
            "limits": {name: value for name, value in limits.items() if value is not None},
        }
        return wanted(self, runtime, form)

    def _runtime(self, language: str, version: str) -> Runtime:
        unknown = f"{language[:50]}-{version[:50]} runtime is unknown"
        nothing = problems.Malformed(f"{unknown}; GET /api/v2/runtimes lists them")
        runtime = runtime_named(language, self.caller, nothing)
        if not fits(version_of(runtime), version):
            raise problems.Malformed(f"{unknown}; there is {version_of(runtime)}")
        return runtime


def given(body: dict[str, Any], name: str, default: Any) -> Any:
    """Return the value, or the default for null, which Piston takes for none."""
    return default if body.get(name) is None else body[name]


def with_line_end(stdin: Any) -> Any:
    """Return the text as Piston's programs get it: it ends with a line, also if there is none."""
    return f"{stdin}\n" if isinstance(stdin, str) and not stdin.endswith("\n") else stdin


def limit(body: dict[str, Any], name: str) -> int | None:
    """Return the limit; None if there is none, or 0 or -1, which stand for none."""
    if body.get(name) is None:
        return None
    value = reading.number(body[name])
    if value in (0, -1):
        return None
    if not value > 0:
        raise problems.Malformed(f"if specified, {name} must be a non-negative number")
    return max(round(value), 1)


def files_of(given: Any, runtime: Runtime) -> tuple[list[dict[str, str]], str]:
    """Return the files for a form of /api/v1, and the path of the program: of the first text, or the first file."""
    if not isinstance(given, list) or not given:
        raise problems.Malformed("files is required as an array of at least one file")
    for index, file in enumerate(given):
        if not isinstance(file, dict) or not isinstance(file.get("content"), str):
            raise problems.Malformed(f"files[{index}].content is required as a string")
    program = next((index for index, file in enumerate(given) if not is_encoded(file)), 0)
    files = []
    for index, file in enumerate(given):
        name = file.get("name") or (runtime.source_file if index == program else f"file{index}.code")
        if not isinstance(name, str):
            raise problems.Malformed(f"files[{index}].name must be a string")
        if index == program and "." not in PurePath(name).name:
            # Compilers tell languages by it.
            name += PurePath(runtime.source_file).suffix
        files.append({"path": name} | _content(file, index))
    return files, files[program]["path"]


def is_encoded(file: dict[str, Any]) -> bool:
    """Whether the content is in base64 or hex. Piston takes any other encoding for UTF-8."""
    return file.get("encoding") in ("base64", "hex")


def _content(file: dict[str, Any], index: int) -> dict[str, str]:
    content: str = file["content"]
    if not is_encoded(file):
        return {"content": content}
    encoding = file["encoding"]
    try:
        data = bytes.fromhex(content) if encoding == "hex" else reading.unbase64(content)
    except ValueError as e:
        raise problems.Malformed(f"files[{index}].content is not {encoding}") from e
    return {"content_base64": base64.b64encode(data).decode()}


def executed(execution: Execution) -> dict[str, Any]:
    runtime = execution.runtime
    values = {"language": runtime.slug, "version": version_of(runtime), "run": _run(execution)}
    if not runtime.compile_command:
        return values
    return values | {"compile": _run(execution) if in_compiler(execution) else stage(code=0)}


def _run(execution: Execution) -> dict[str, Any]:
    """Return the stage that ended the run. Of a failed compilation, Piston has both stages fail."""
    code, ended_by = code_and_signal(execution)
    return stage(
        stdout=execution.stdout,
        stderr=execution.stderr,
        code=code,
        signal=ended_by,
        message=execution.message or None,
        status=word_of(execution),
        cpu_time=execution.cpu_ms,
        wall_time=None if execution.run_ms is None else round(execution.run_ms),
        memory=execution.peak_memory_bytes,
    )


def stage(stdout: str = "", stderr: str = "", **values: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("signal", "message", "status", "cpu_time", "wall_time", "memory"))
    return PistonStageSchema.dump(
        **nothing | {"stdout": stdout, "stderr": stderr, "output": stdout + stderr} | values
    )


class RuntimesView(PistonView):
    http_method_names = ["get", "head", "options"]

    @extend_schema(
        summary="List runtimes",
        operation_id="piston_runtimes",
        responses=answers(PistonRuntimeSchema(many=True)),
        tags=["Piston"],
    )
    def get(self, request: Request) -> Response:
        return Response(
            [
                {"language": runtime.slug, "version": version_of(runtime), "aliases": runtime.aliases}
                for runtime in usable(self.caller)
            ]
        )


class PackagesView(PistonView):
    @extend_schema(
        summary="List packages",
        operation_id="piston_packages",
        description="Piston's packages are languages: these are the runtimes.",
        responses=answers(PistonPackageSchema(many=True)),
        tags=["Piston"],
    )
    def get(self, request: Request) -> Response:
        return Response(
            [
                {"language": runtime.slug, "language_version": version_of(runtime), "installed": True}
                for runtime in usable(self.caller)
            ]
        )

    @extend_schema(
        summary="Install a package: refused",
        operation_id="piston_install",
        request=None,
        responses=refusals(),
        tags=["Piston"],
    )
    def post(self, request: Request) -> Response:
        raise PermissionDenied("Languages are installed by an administrator of the platform, not by clients.")

    @extend_schema(
        summary="Uninstall a package: refused",
        operation_id="piston_uninstall",
        responses=refusals(),
        tags=["Piston"],
    )
    def delete(self, request: Request) -> Response:
        return self.post(request)
