"""django-q2's cluster, made to survive the sudden death of its own parts."""

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from django.db import Error, connection
from django_q import cluster
from django_q.signals import post_spawn

from executions.sandbox.docker_engine import get_engine
from executions.sandbox.engine import EngineError

logger = logging.getLogger(__name__)


class Sentinel(cluster.Sentinel):  # type: ignore[misc]
    """Replaces what died, unless that may have died with a lock of the queues between the processes in its hands:
    an idle worker and the monitor wait holding one, and without it no other would ever get a task again."""

    def reincarnate(self, process: Any) -> None:
        killed = process.exitcode is not None and process.exitcode < 0
        idle_worker = process in self.pool and process.timer.value == -1
        if killed and (idle_worker or process == self.monitor):
            logger.critical("a process of the cluster was killed while it held a lock: starting all anew")
            os._exit(1)
        super().reincarnate(process)


def warm_up(**_: Any) -> None:
    """In a new worker process, before its first task: what that one would have to wait for."""
    import_module("executions.tasks")
    with contextlib.suppress(Error):
        connection.close()  # the parent's
        connection.ensure_connection()
    with contextlib.suppress(EngineError):
        get_engine().version()


def run(warm: Callable[..., None] | None = None) -> None:
    """Until it is told to stop. A cluster whose sentinel died is replaced as a whole, in this process."""
    cluster.Sentinel = Sentinel  # the class that start() looks up
    if warm:
        post_spawn.connect(warm)
    running = cluster.Cluster()
    running.start()
    sentinel = running.sentinel
    children: list[int] = []
    while sentinel.is_alive():
        children = children_of(sentinel.pid) or children
        sentinel.join(1)
    if running.stop_event is None:
        return  # stop() forgets the event: the end was asked for
    logger.critical("the cluster's sentinel died: starting all anew")
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    # From scratch, so that nothing of the broken cluster is left in this process.
    os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606


def children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
