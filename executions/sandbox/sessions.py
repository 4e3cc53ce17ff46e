"""Which session speaks to a runtime's sandboxes."""

import shlex
from typing import Any

from executions.sandbox.session import Session
from executions.sandbox.shell import ShellSession
from runtimes.models import Runner, Runtime


def session_of(runtime: Runtime, *arguments: Any) -> Session:
    if runtime.runner == Runner.SHELL:
        return ShellSession(*arguments, command=shlex.split(runtime.run_command))
    return Session(*arguments, compiles=bool(runtime.compile_command))
