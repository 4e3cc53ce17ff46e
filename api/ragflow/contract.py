"""RAGFlow's executor manager, version by version of its wire format: requests in, results out.

Source: infiniflow/ragflow, agent/sandbox/executor_manager (see docs/ragflow.md for every difference).
"""

import base64
import binascii
import json
import math
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from executions.models import Artifact, Execution, Outcome, Status

LANGUAGES = ("python", "nodejs")
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


class Malformed(Exception):
    """Answered with 422 and the body FastAPI would send: clients quote it."""

    def __init__(self, kind: str, where: list[str | int], message: str, value: Any) -> None:
        super().__init__(message)
        self.detail = [{"type": kind, "loc": ["body", *where], "msg": message, "input": _echo(value)}]


def _echo(value: Any) -> Any:
    """The offending value, as far as it fits an answer (NaN does not)."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else type(value).__name__


@dataclass(frozen=True)
class RunRequest:
    code: str
    language: str
    arguments: str  # JSON text


def parse_request(body: bytes, content_type: str) -> RunRequest:
    """Raises Malformed. Unknown fields are ignored: RAGFlow's Go client sends some."""
    media = content_type.partition(";")[0].strip().lower()
    if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        raise Malformed(
            "model_attributes_type", [], "Send a JSON object with Content-Type: application/json", media
        )
    try:
        data = json.loads(body)
    except RecursionError as e:
        raise Malformed("json_invalid", [0], "JSON decode error: nested too deeply", {}) from e
    except ValueError as e:
        position = getattr(e, "pos", 0)
        raise Malformed("json_invalid", [position], f"JSON decode error: {e}", {}) from e
    if not isinstance(data, dict):
        raise Malformed("model_attributes_type", [], "Input should be a JSON object", data)
    language = _language(data)
    return RunRequest(_code(data), language, _arguments(data, language))


def _code(data: dict[str, Any]) -> str:
    where: list[str | int] = ["code_b64"]
    if "code_b64" not in data:
        raise Malformed("missing", where, "Field required: the program, base64-encoded", "")
    value = data["code_b64"]
    if not isinstance(value, str):
        raise Malformed("string_type", where, "Input should be a valid string", value)
    try:
        return base64.b64decode(value.encode("ascii"), validate=True).decode()
    except UnicodeDecodeError as e:
        raise Malformed("value_error", where, "The decoded program is not UTF-8", value[:80]) from e
    except (binascii.Error, UnicodeEncodeError) as e:
        raise Malformed("value_error", where, "Value error, Invalid base64 encoding", value[:80]) from e


def _language(data: dict[str, Any]) -> str:
    value = data.get("language", "python")
    if value not in LANGUAGES:
        raise Malformed("enum", ["language"], "Input should be 'python' or 'nodejs'", value)
    return str(value)


def _arguments(data: dict[str, Any], language: str) -> str:
    value = data.get("arguments")
    if value is None:
        return "{}"
    if not isinstance(value, dict):
        raise Malformed("dict_type", ["arguments"], "Input should be a valid dictionary", value)
    try:
        text = json.dumps(value)
        if language == "nodejs":
            # JavaScript's JSON has no NaN: there it is null, as a result is.
            text = json.dumps(json.loads(text, parse_constant=lambda _name: None))
        return text
    except (RecursionError, ValueError) as e:
        raise Malformed("value_error", ["arguments"], f"Not storable: {e}", "") from e


def render(execution: Execution, artifacts: list[Artifact]) -> dict[str, Any]:
    """The twelve keys of an answer, all of them always there."""
    succeeded = execution.status == Status.SUCCEEDED
    status, exit_code = _status(execution)
    answer: dict[str, Any] = {
        "status": status,
        # Clients read a failed run's output as its result unless it is empty; the history keeps it.
        "stdout": _stdout(execution.stdout) if succeeded else "",
        "stderr": execution.stderr if succeeded else _why(execution),
        "exit_code": exit_code,
        "detail": _DETAILS.get(execution.outcome),
        "time_used_ms": execution.run_ms if succeeded or execution.status == Status.TIMED_OUT else None,
        "memory_used_kb": (execution.peak_memory_bytes or 0) // 1024 or None,
        "resource_limit_type": _LIMITS.get(execution.outcome),
        "unauthorized_access_type": None,
        "runtime_error_type": "nonzero_exit" if execution.status == Status.FAILED else None,
        "artifacts": [_artifact(artifact) for artifact in artifacts] if succeeded else [],
        "result": None,
    }
    if succeeded and execution.result is not None:
        answer["result"] = {"present": True, "value": json.loads(execution.result), "type": "json"}
    return answer


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
            return "resource_limit_exceeded", -153  # 128 + SIGXFSZ, negative as its siblings are
        case Status.REJECTED:
            return "program_runner_error", -999
        case Status.CANCELLED:
            return "program_runner_error", -10
        case _:
            return "program_runner_error", -3


def _why(execution: Execution) -> str:
    """Never empty: RAGFlow's tool takes a failure with an empty stderr for an empty success."""
    parts = [execution.stderr if execution.stderr.strip() else "", execution.message]
    if execution.status == Status.FAILED and parts[0] and execution.outcome == Outcome.NONZERO_EXIT:
        return execution.stderr
    if execution.outcome == Outcome.CODE_POLICY:
        parts.append(
            "(An administrator can switch off single rules, or the code policy: admin, "
            f"Runtimes, {execution.runtime.slug}.)"
        )
    return "\n".join(part.rstrip("\n") for part in parts if part)


def _stdout(text: str) -> str:
    """Without lines that clients would take for a result, and without the last newline, as RAGFlow sends it."""
    if RESULT_MARKER in text:
        text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith(RESULT_MARKER))
    return text.removesuffix("\n")


def _artifact(artifact: Artifact) -> dict[str, Any]:
    content = bytes(artifact.content)
    return {
        "name": artifact.name,
        "mime_type": MIME_TYPES.get(PurePath(artifact.name).suffix.lower(), "application/octet-stream"),
        "size": artifact.size,
        "content_b64": base64.b64encode(content).decode(),
    }
