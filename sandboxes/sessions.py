"""Chooses the session class for a runtime's sandboxes, and fetches the container's state where the session needs it."""

import shlex
from typing import Any

from runtimes.models import Runner, Runtime
from sandboxes.engine import ContainerState, Engine
from sandboxes.session import EndedBy, Report, Session
from sandboxes.shell import ShellSession


def session_of(runtime: Runtime, *arguments: Any) -> Session:
    if runtime.runner == Runner.SHELL:
        return ShellSession(*arguments, command=shlex.split(runtime.run_command))
    return Session(*arguments, compiles=bool(runtime.compile_command))


def state_of(engine: Engine, container_id: str, report: Report) -> ContainerState | None:
    """Return the container's state if only Docker can tell how the session ended, else None. Raises EngineError."""
    if report.ended_by in (EndedBy.LOST, EndedBy.STREAM):
        return engine.state_after_end(container_id)
    return None
