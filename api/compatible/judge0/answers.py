"""Submissions as Judge0 shows them: the status, and the fields that the caller asks for."""

import base64
import signal
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from api.compatible.endings import in_compiler, signal_of
from api.compatible.judge0.languages import id_of
from api.compatible.judge0.parsing import EXPECTED, KIB, fingerprint
from api.v1.problems import Malformed
from clients.admission import usable
from clients.models import Client
from executions.limits import ceiling
from executions.models import Execution, Status
from redaction import services as redaction

STATUSES = {
    1: "In Queue",
    2: "Processing",
    3: "Accepted",
    4: "Wrong Answer",
    5: "Time Limit Exceeded",
    6: "Compilation Error",
    7: "Runtime Error (SIGSEGV)",
    8: "Runtime Error (SIGXFSZ)",
    9: "Runtime Error (SIGFPE)",
    10: "Runtime Error (SIGABRT)",
    11: "Runtime Error (NZEC)",
    12: "Runtime Error (Other)",
    13: "Internal Error",
    14: "Exec Format Error",
}
BY_SIGNAL: dict[int, int] = {signal.SIGSEGV: 7, signal.SIGXFSZ: 8, signal.SIGFPE: 9, signal.SIGABRT: 10}
DEFAULT = ("stdout", "time", "memory", "stderr", "token", "compile_output", "message", "status")
MOST_FIELDS = 100


def status_of(execution: Execution) -> int:
    if in_compiler(execution):
        return 6
    match execution.status:
        case Status.QUEUED:
            return 1
        case Status.RUNNING:
            return 2
        case Status.SUCCEEDED:
            return _compared(execution.stdout, execution.labels.get(EXPECTED))
        case Status.TIMED_OUT:
            return 5
        case Status.OUTPUT_LIMIT:
            return 8
        case Status.FAILED | Status.OUT_OF_MEMORY:
            ended_by = signal_of(execution)
            return 11 if ended_by is None else BY_SIGNAL.get(ended_by, 12)
    return 13


def _compared(stdout: str, expected: str | None) -> int:
    if expected is None:
        return 3
    if stdout == redaction.WITHHELD:
        return 13  # nobody knows what the program printed
    return 3 if expected == fingerprint(stdout) else 4


def _status(execution: Execution) -> dict[str, Any]:
    number = status_of(execution)
    return {"id": number, "description": STATUSES[number]}


def _time(at: datetime | None) -> str | None:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z" if at else None


def _seconds(milliseconds: float | None) -> str | None:
    return None if milliseconds is None else f"{milliseconds / 1000:.3f}"


def _stderr(execution: Execution) -> str | None:
    return None if in_compiler(execution) else execution.stderr or None


def _compile_output(execution: Execution) -> str | None:
    return (execution.stderr or None) if in_compiler(execution) else None


def _limit(name: str, divisor: int) -> Callable[[Execution], float]:
    return lambda execution: execution.limits[name] / divisor


# Texts, which are encoded in base64 if the caller asks for it.
TEXTS: dict[str, Callable[[Execution], str | None]] = {
    "stdout": lambda execution: execution.stdout or None,
    "stderr": _stderr,
    "compile_output": _compile_output,
    "message": lambda execution: execution.message or None,
    "source_code": lambda execution: execution.code,
    "stdin": lambda execution: execution.stdin or None,
    "expected_output": lambda execution: None,
}
OTHERS: dict[str, Callable[[Execution], Any]] = {
    "token": lambda execution: str(execution.pk),
    "status": _status,
    "status_id": status_of,
    "language_id": lambda execution: id_of(execution.runtime),
    "language": lambda execution: {"id": id_of(execution.runtime), "name": execution.runtime.name},
    "time": lambda execution: _seconds(execution.cpu_ms),
    "wall_time": lambda execution: _seconds(execution.run_ms),
    "memory": lambda execution: (execution.peak_memory_bytes or 0) // KIB or None,
    "exit_code": lambda execution: None if signal_of(execution) else execution.exit_code,
    "exit_signal": signal_of,
    "created_at": lambda execution: _time(execution.queued_at),
    "finished_at": lambda execution: _time(execution.finished_at),
    "number_of_runs": lambda execution: 1,
    "cpu_time_limit": _limit("cpu_time_ms", 1000),
    "wall_time_limit": _limit("wall_time_ms", 1000),
    "memory_limit": _limit("memory_bytes", KIB),
    "max_processes_and_or_threads": lambda execution: execution.limits["processes"],
    "command_line_arguments": lambda execution: " ".join(map(str, execution.argv)) or None,
    "redirect_stderr_to_stdout": lambda execution: False,
    "enable_network": lambda execution: False,
    "compiler_options": lambda execution: None,
    "additional_files": lambda execution: None,
    "callback_url": lambda execution: None,
}
FIELDS = (*TEXTS, *OTHERS)
# The columns of megabytes that fields are made of. The status needs stdout, to compare it.
LARGE = {
    "stdout": ("stdout",),
    "status": ("stdout",),
    "status_id": ("stdout",),
    "stderr": ("stderr",),
    "compile_output": ("stderr",),
    "source_code": ("code",),
    "stdin": ("stdin",),
    "command_line_arguments": ("argv",),
}


def fields_of(text: str | None) -> tuple[str, ...]:
    """Return the fields that the query parameter names. Raises Malformed for unknown ones."""
    if not text:
        return DEFAULT
    names = [name.strip() for name in text[:5000].split(",")]
    if "*" in names:
        return FIELDS
    if unknown := [name for name in names if name not in FIELDS]:
        raise Malformed(f"invalid fields: [{', '.join(name[:50] for name in unknown[:MOST_FIELDS])}]")
    return tuple(dict.fromkeys(names))


def columns_of(fields: Iterable[str]) -> list[str]:
    """Return the large columns that the fields are made of."""
    return list(dict.fromkeys(column for field in fields for column in LARGE.get(field, ())))


def submission(execution: Execution, fields: Iterable[str], *, base64_encoded: bool) -> dict[str, Any]:
    shown = redaction.shown(execution)
    return {name: _value(shown, name, base64_encoded) for name in fields}


def _value(execution: Execution, name: str, base64_encoded: bool) -> Any:
    if name in OTHERS:
        return OTHERS[name](execution)
    text = TEXTS[name](execution)
    if text is None or not base64_encoded:
        return text
    return base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()


def configuration(client: Client | None, largest_batch: int) -> dict[str, Any]:
    """Return the settings of Judge0 that say what a client may ask for, as they hold here."""
    runtimes = usable(client)

    def most(name: str) -> int:
        return max((ceiling(runtime, client, name)[0] for runtime in runtimes), default=0)

    cpu_s, wall_s, kib = most("cpu_time_ms") / 1000, most("wall_time_ms") / 1000, most("memory_bytes") // KIB
    processes = max((runtime.processes for runtime in runtimes), default=0)
    files_kib = max((runtime.workspace_bytes for runtime in runtimes), default=0) // KIB
    return {
        "maintenance_mode": False,
        "enable_wait_result": True,
        "enable_compiler_options": False,
        "allowed_languages_for_compile_options": [],
        "enable_command_line_arguments": True,
        "enable_submission_delete": False,
        "enable_callbacks": False,
        "callbacks_max_tries": 0,
        "callbacks_timeout": 0,
        "enable_additional_files": False,
        "max_queue_size": 0,
        "cpu_time_limit": cpu_s,
        "cpu_extra_time": 0,
        "wall_time_limit": wall_s,
        "memory_limit": kib,
        "stack_limit": kib,
        "max_cpu_time_limit": cpu_s,
        "max_cpu_extra_time": 0,
        "max_wall_time_limit": wall_s,
        "max_memory_limit": kib,
        "max_stack_limit": kib,
        "max_processes_and_or_threads": processes,
        "max_max_processes_and_or_threads": processes,
        "enable_per_process_and_thread_time_limit": False,
        "allow_enable_per_process_and_thread_time_limit": False,
        "enable_per_process_and_thread_memory_limit": False,
        "allow_enable_per_process_and_thread_memory_limit": False,
        "max_file_size": files_kib,
        "max_max_file_size": files_kib,
        "max_extract_size": 0,
        "number_of_runs": 1,
        "max_number_of_runs": 1,
        "redirect_stderr_to_stdout": False,
        "enable_batched_submissions": True,
        "max_submission_batch_size": largest_batch,
        "submission_cache_duration": 0,
        "use_docs_as_homepage": False,
        "enable_network": False,
        "allow_enable_network": False,
        "disable_implicit_base64_encoding": True,
    }
