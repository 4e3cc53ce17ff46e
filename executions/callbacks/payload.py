"""The body of a callback; docs/callbacks.md describes it."""

import json
from datetime import datetime
from typing import Any

from executions.models import Execution

TYPE = "execution.finished"
# Caps per text: enough for most programs, small enough for every receiver. The API returns the full text.
OUTPUT_CHARACTERS = 64 * 1024
RESULT_CHARACTERS = 256 * 1024


def message_id(execution: Execution) -> str:
    """Return the message id. It is the same for every attempt, so that receivers can drop duplicates."""
    return f"msg_{execution.pk}"


def body(execution: Execution) -> bytes:
    message = {"type": TYPE, "timestamp": _time(execution.finished_at), "data": summary(execution)}
    return json.dumps(message).encode()


def summary(execution: Execution) -> dict[str, Any]:
    result, cut = execution.result, len(execution.result or "") > RESULT_CHARACTERS
    return {
        "id": str(execution.pk),
        "runtime": execution.runtime.slug,
        "mode": execution.mode,
        "labels": execution.labels,
        "status": execution.status,
        "outcome": execution.outcome,
        "message": execution.message,
        "started": execution.may_have_started,
        "requeues": execution.requeues,
        "exit_code": execution.exit_code,
        "signal": execution.signal,
        "result": json.loads(result) if result is not None and not cut else None,
        "result_omitted": cut,
        "stdout": execution.stdout[:OUTPUT_CHARACTERS],
        "stderr": execution.stderr[:OUTPUT_CHARACTERS],
        "stdout_truncated": execution.stdout_truncated or len(execution.stdout) > OUTPUT_CHARACTERS,
        "stderr_truncated": execution.stderr_truncated or len(execution.stderr) > OUTPUT_CHARACTERS,
        "artifact_count": execution.artifact_count,
        "cpu_ms": execution.cpu_ms,
        "peak_memory_bytes": execution.peak_memory_bytes,
        "queued_at": _time(execution.queued_at),
        "started_at": _time(execution.started_at),
        "ended_at": _time(execution.ended_at),
        "finished_at": _time(execution.finished_at),
    }


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
