"""Runs smoke programs without an execution: for probes of images and profiles, and for learning.

runtimes/smoke.py defines their format and their expectations.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from executions.verdict import Verdict
from runtimes import smoke
from runtimes.models import Limits, Runtime
from sandboxes.protocol import Job
from sandboxes.session import Report


def job_of(program: Mapping[str, Any], runtime: Runtime, limits: Limits) -> Job:
    files = program.get("files", {})
    return Job(
        mode=program.get("mode", "script"),
        code=program["code"],
        source_file=runtime.source_file,
        arguments=json.dumps(program.get("arguments", {})),
        stdin=program.get("stdin", ""),
        argv=program.get("argv", []),
        environment={},
        output_bytes=limits.output_bytes,
        output_action=limits.output_action,
        result_bytes=limits.result_bytes,
        artifact_count=limits.artifact_count,
        artifact_bytes=limits.artifact_bytes,
        artifact_suffixes=None,
        files=[{"path": path, "base64": b64encode(text.encode()).decode()} for path, text in files.items()],
    )


def disagreements(program: Mapping[str, Any], report: Report, verdict: Verdict) -> list[str]:
    """Return where the end differs from the expected one, then the verdict's message; [] if nothing differs."""
    actual = {
        "status": verdict.status,
        "outcome": verdict.outcome,
        "exit_code": verdict.exit_code,
        "result": json.loads(verdict.result) if verdict.result is not None else None,
        "stdout": report.stdout.decode(errors="replace"),
        "stderr": report.stderr.decode(errors="replace"),
    }
    wrong = smoke.disagreements(program, actual, [name for name, _ in report.artifacts])
    return [*wrong, verdict.message] if wrong and verdict.message else wrong
