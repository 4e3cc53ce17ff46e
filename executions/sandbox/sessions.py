"""Which session speaks to a runtime's sandboxes, and who says how it ended."""

import shlex
from typing import Any

from executions.sandbox.engine import ContainerState, Engine
from executions.sandbox.session import EndedBy, Report, Session
from executions.sandbox.shell import ShellSession
from runtimes.models import Runner, Runtime


def session_of(runtime: Runtime, *arguments: Any) -> Session:
    if runtime.runner == Runner.SHELL:
        return ShellSession(*arguments, command=shlex.split(runtime.run_command))
    return Session(*arguments, compiles=bool(runtime.compile_command))


def state_of(engine: Engine, container_id: str, report: Report) -> ContainerState | None:
    """The container's, where only Docker can say how the session ended; else None. Raises EngineError."""
    if report.ended_by in (EndedBy.LOST, EndedBy.STREAM):
        return engine.state_after_end(container_id)
    return None
