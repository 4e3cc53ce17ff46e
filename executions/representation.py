"""An execution as the API shows it. schema.py describes the same fields; a test compares the two."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from executions.models import STARTED_FROM, Execution
from executions.sources import refused_calls
from executions.verdict import MAX_NESTING, nested_deeper_than
from runtimes.models import Network
from seccomp_profiles.models import UNCONFINED

Getter = Callable[[Execution], Any]


def json_value(text: str | None) -> Any:
    """Of stored JSON text, as an answer can hold it: NaN is null; what nests too deeply stays the text."""
    if text is None:
        return None
    try:
        value = json.loads(text, parse_constant=lambda _name: None)
    except RecursionError:
        return text
    return text if nested_deeper_than(MAX_NESTING, value) else value


def _files(execution: Execution) -> list[dict[str, Any]]:
    if not execution.input_count:
        return []
    rows = execution.input_files.extra(select={"size": "octet_length(content)"}).values("path", "size")
    return list(rows)


def _refused_calls(execution: Execution) -> dict[str, Any] | None:
    """What the newest trace of it says."""
    if execution.profile_name in ("", UNCONFINED):
        return None
    return refused_calls(execution)


def _egress(execution: Execution) -> dict[str, int] | None:
    """How many requests its program made; null where it could make none."""
    if execution.network == Network.NONE:
        return None
    allowed = list(execution.egress_requests.values_list("allowed", flat=True))
    return {"requests": len(allowed), "refused": allowed.count(False)}


def _same(*names: str) -> dict[str, Getter]:
    def getter(name: str) -> Getter:
        return lambda execution: getattr(execution, name)

    return {name: getter(name) for name in names}


# Of a bounded size: what a list shows.
SMALL: dict[str, Getter] = (
    _same("id", "status", "outcome", "message")
    | {
        "client": lambda execution: execution.client and execution.client.name,
        "runtime": lambda execution: execution.runtime.slug,
    }
    | _same("mode", "endpoint", "labels", "exit_code", "signal", "stdout_truncated", "stderr_truncated")
    | _same("artifact_count", "input_count", "source_file", "code_sha256")
    | _same(
        "queued_at", "claimed_at", "sandbox_at", "started_at", "ended_at", "finished_at", "cancel_requested_at"
    )
    | {"duration_ms": lambda execution: execution.run_ms}
    | _same("cpu_ms", "peak_memory_bytes", "warm", "batch_id", "rerun_of", "pinned")
    | _same(*STARTED_FROM, "network", "limits", "runsc_version", "node", "sandbox_id")
)
# Up to megabytes each: only when asked for, or of one execution.
LARGE: dict[str, Getter] = (
    _same("code")
    | {"arguments": lambda execution: json_value(execution.arguments)}
    | _same("stdin", "argv")
    | {
        "environment": lambda execution: execution.variables,
        "runtime_environment": lambda execution: execution.environment,
    }
    | _same("stdout", "stderr")
    | {"result": lambda execution: json_value(execution.result)}
    | _same("policy_violations", "egress_rules")
)
COLUMNS = {"environment": "variables", "runtime_environment": "environment"}
LISTED = SMALL | LARGE
DETAIL = LISTED | {"files": _files, "refused_calls": _refused_calls, "egress": _egress}


REQUEST = (
    *("at", "method", "host", "port", "allowed", "reason"),
    *("ended_at", "status", "address", "bytes_sent", "bytes_received"),
)


def detail(execution: Execution) -> dict[str, Any]:
    return {name: get(execution) for name, get in DETAIL.items()}


def listed(execution: Execution, fields: Iterable[str]) -> dict[str, Any]:
    return {name: LISTED[name](execution) for name in fields}


def unneeded_columns(fields: Iterable[str]) -> list[str]:
    """Large ones, not to be read for a list that does not show them."""
    wanted = set(fields)
    return [COLUMNS.get(name, name) for name in LARGE if name not in wanted]
