"""Which session speaks to a runtime's sandboxes."""

import shlex
from typing import Any

from runtimes.models import Runner, Runtime
from sandboxes.session import Session
from sandboxes.shell import ShellSession


def session_of(runtime: Runtime, *arguments: Any) -> Session:
    if runtime.runner == Runner.SHELL:
        return ShellSession(*arguments, command=shlex.split(runtime.run_command))
    return Session(*arguments, compiles=bool(runtime.compile_command))
