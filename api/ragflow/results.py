"""RAGFlow's responses and their OpenAPI schema. docs/ragflow.md lists every difference from RAGFlow."""

import base64
import json
import math
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from rest_framework import serializers

from clients.admission import LABELS, STORED
from executions.models import PHASE_TIMES, Artifact, Execution, Outcome, Status
from sandbox_platform.kit.schemas import AnyJson, Schema, computed

STATUSES = ["success", "program_error", "resource_limit_exceeded", "program_runner_error"]
RESULT_MARKER = "__RAGFLOW_RESULT__:"
MIME_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
    ".csv": "text/csv",
    ".json": "application/json",
    ".html": "text/html",
}
_LIMITS: dict[str, str] = {
    Outcome.WALL_TIME: "time",
    Outcome.COMPILE_TIME: "time",
    Outcome.CPU_TIME: "time",
    Outcome.MEMORY: "memory",
    Outcome.STDOUT: "output",
    Outcome.STDERR: "output",
}
_DETAILS: dict[str, str] = {
    Outcome.CODE_POLICY: "Code is unsafe",
    Outcome.RUNTIME_DISABLED: "runtime_disabled",
    Outcome.QUEUE_TIMEOUT: "no_available_container",
    Outcome.CALLER_GONE: "cancelled",
    Outcome.CANCEL_REQUESTED: "cancelled",
    Outcome.START_FAILED: "internal_error",
    Outcome.SANDBOX_LOST: "internal_error",
    Outcome.WORKER_LOST: "internal_error",
    Outcome.INTERNAL: "internal_error",
}

# Columns of an ended execution that `render` and the timing headers read.
COLUMNS = (
    *("status", "outcome", "message", "exit_code", "stdout", "stderr", "result", "peak_memory_bytes"),
    *("artifact_count", "warm", *PHASE_TIMES),
)


def _status(execution: Execution) -> tuple[str, int]:
    match execution.status:
        case Status.SUCCEEDED:
            return "success", 0
        case Status.FAILED:
            return "program_error", execution.exit_code or 1
        case Status.TIMED_OUT:
            return "resource_limit_exceeded", -124
        case Status.OUT_OF_MEMORY:
            return "resource_limit_exceeded", -137
        case Status.OUTPUT_LIMIT:
            return "resource_limit_exceeded", -153  # -(128 + SIGXFSZ), like the two codes above
        case Status.REJECTED:
            return "program_runner_error", -999
        case Status.CANCELLED:
            return "program_runner_error", -10
        case _:
            return "program_runner_error", -3


def _why(execution: Execution) -> str:
    """Return the stderr of a failed execution, never empty.

    RAGFlow's tool reads a failure with an empty stderr as a success without output.
    """
    parts = [execution.stderr if execution.stderr.strip() else "", execution.message]
    if execution.status == Status.FAILED and parts[0] and execution.outcome == Outcome.NONZERO_EXIT:
        return execution.stderr
    if execution.outcome == Outcome.CODE_POLICY:
        parts.append(
            "(An administrator can disable single rules or the code policy: admin, "
            f"Runtimes, {execution.runtime.slug}.)"
        )
    return "\n".join(part.rstrip("\n") for part in parts if part)


def _stdout(text: str) -> str:
    """Return the text without lines that clients would parse as a result."""
    if RESULT_MARKER in text:
        text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith(RESULT_MARKER))
    return text


@dataclass(frozen=True)
class Run:
    execution: Execution
    artifacts: list[Artifact]

    @property
    def succeeded(self) -> bool:
        return self.execution.status == Status.SUCCEEDED


def _stdout_of(run: Run) -> str:
    """Return stdout, or "" for a failed run: clients read its stdout as the result. The history keeps it."""
    return _stdout(run.execution.stdout) if run.succeeded else ""


def _time_used(run: Run) -> float | None:
    return run.execution.run_ms if run.succeeded or run.execution.status == Status.TIMED_OUT else None


def _result(run: Run) -> str | None:
    """Return the result as JSON text, or None if the run failed."""
    return run.execution.result if run.succeeded else None


class ResultSerializer(Schema):
    present = computed(serializers.BooleanField(), lambda text: True)
    value = computed(AnyJson(help_text="Return value of main()."), json.loads)
    type = computed(serializers.ChoiceField(choices=["json"]), lambda text: "json")


class ArtifactSerializer(Schema):
    name = serializers.CharField()
    mime_type = computed(
        serializers.CharField(),
        lambda artifact: MIME_TYPES.get(PurePath(artifact.name).suffix.lower(), "application/octet-stream"),
    )
    size = serializers.IntegerField()
    content_b64 = computed(
        serializers.CharField(), lambda artifact: base64.b64encode(bytes(artifact.content)).decode()
    )


class RunResultSerializer(Schema):
    status = computed(serializers.ChoiceField(choices=STATUSES), lambda run: _status(run.execution)[0])
    stdout = computed(serializers.CharField(help_text="Empty unless the run succeeded."), _stdout_of)
    stderr = computed(
        serializers.CharField(help_text="Never empty when the run failed."),
        lambda run: run.execution.stderr if run.succeeded else _why(run.execution),
    )
    exit_code = computed(serializers.IntegerField(), lambda run: _status(run.execution)[1])
    detail = computed(
        serializers.CharField(
            allow_null=True, help_text="Of a success: what is missing from the answer, if anything."
        ),
        lambda run: (run.execution.message or None) if run.succeeded else _DETAILS.get(run.execution.outcome),
    )
    time_used_ms = computed(serializers.FloatField(allow_null=True), _time_used)
    memory_used_kb = computed(
        serializers.IntegerField(allow_null=True),
        lambda run: (run.execution.peak_memory_bytes or 0) // 1024 or None,
    )
    resource_limit_type = computed(
        serializers.ChoiceField(choices=["time", "memory", "output"], allow_null=True),
        lambda run: _LIMITS.get(run.execution.outcome),
    )
    unauthorized_access_type = computed(
        serializers.CharField(allow_null=True, help_text="Always null."), lambda run: None
    )
    runtime_error_type = computed(
        serializers.ChoiceField(choices=["nonzero_exit"], allow_null=True),
        lambda run: "nonzero_exit" if run.execution.status == Status.FAILED else None,
    )
    artifacts = computed(ArtifactSerializer(many=True), lambda run: run.artifacts if run.succeeded else [])
    result = computed(ResultSerializer(allow_null=True), _result)


def render(execution: Execution, artifacts: list[Artifact]) -> dict[str, Any]:
    """Return the response body. All twelve keys are always present."""
    return RunResultSerializer.dump(Run(execution, artifacts))


def _echo(value: Any) -> Any:
    """Return the invalid value if JSON can hold it: None for NaN and infinities, the type's name for others."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else type(value).__name__


class ProblemSerializer(Schema):
    type = serializers.CharField(source="kind")
    loc = computed(serializers.ListField(child=AnyJson()), lambda malformed: ["body", *malformed.where])
    msg = serializers.CharField(source="message")
    input = computed(AnyJson(), lambda malformed: _echo(malformed.value))


class MalformedSerializer(Schema):
    detail = computed(ProblemSerializer(many=True), lambda malformed: [malformed])


class RefusedSerializer(Schema):
    detail = computed(serializers.CharField(), str)


class OverLimitSerializer(RefusedSerializer):
    limit = serializers.ChoiceField(choices=[*LABELS, STORED])
    value = serializers.IntegerField(help_text="The client's quota.")
    used = serializers.IntegerField()
    frees_at = serializers.DateTimeField(
        allow_null=True,
        help_text="null: when one of the client's executions ends; for stored bytes, with a purge.",
    )


class BusySerializer(Schema):
    """RAGFlow's answer to too many requests."""

    status = computed(serializers.ChoiceField(choices=["program_runner_error"]), lambda e: "program_runner_error")
    stdout = computed(serializers.CharField(help_text="Always empty."), lambda e: "")
    stderr = computed(serializers.CharField(), str)
    exit_code = computed(serializers.IntegerField(help_text="Always -429."), lambda e: -429)
    detail = computed(serializers.CharField(), lambda e: e.code)
