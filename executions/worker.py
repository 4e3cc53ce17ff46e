"""What a worker process does before its first task."""

import contextlib
from importlib import import_module
from typing import Any

from django.db import Error, connection

from sandbox_platform.kit import garbage
from sandboxes.docker_engine import get_engine
from sandboxes.engine import EngineError


def warm_up(**_: Any) -> None:
    """In a new worker process, before its first task: what that one would have to wait for."""
    import_module("executions.tasks")
    with contextlib.suppress(Error):
        connection.close()  # the parent's
        connection.ensure_connection()
    with contextlib.suppress(EngineError):
        get_engine().version()
    garbage.freeze()
