"""Start-up of worker processes."""

import contextlib
from importlib import import_module

from django.db import Error, connection

from sandbox_platform.kit import garbage
from sandboxes.engine import EngineError
from sandboxes.engines import get_engine


def warm_up() -> None:
    """Import, connect and cache in a new worker process, so that its first task need not wait for it."""
    import_module("executions.tasks")
    with contextlib.suppress(Error):
        connection.close()  # inherited from the parent process
        connection.ensure_connection()
    with contextlib.suppress(EngineError):
        get_engine().version()
    garbage.freeze()
