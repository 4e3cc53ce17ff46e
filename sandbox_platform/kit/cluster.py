"""django-q2's cluster, made to survive the sudden death of its own parts."""

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django_q import cluster
from django_q.signals import post_spawn

from sandbox_platform.kit.broker import NotifyBroker

logger = logging.getLogger(__name__)


class HandOver:
    """The queue between the pusher and the workers, in which nothing waits: a worker that asks for a task is what
    lets the pusher take one. Whatever was taken before its time could be overtaken by nobody, neither another
    client's task nor the end of this process.
    """

    def __init__(self, queue: Any) -> None:
        context = cluster.get_mp_context()
        self._queue = queue
        self._idle = context.Semaphore(0)
        self._reserved = context.Value("b", 0)

    def get(self) -> Any:
        self._idle.release()
        return self._queue.get()

    def put(self, task: Any) -> None:
        self._queue.put(task)
        self._reserved.value = 0

    def reserve(self, timeout: float) -> bool:
        if not self._idle.acquire(timeout=timeout):
            return False
        self._reserved.value = 1
        return True

    def give_back(self) -> None:
        self._reserved.value = 0
        self._idle.release()

    def pusher_died(self) -> None:
        """A worker it had reserved waits still."""
        if self._reserved.value:
            self.give_back()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


def push(tasks: HandOver, stop: Any, queue_name: str) -> None:
    """django-q2's pusher, with a broker that knows the workers."""
    cluster.pusher(tasks, stop, NotifyBroker(queue_name, workers=tasks))


class Sentinel(cluster.Sentinel):  # type: ignore[misc]
    """Replaces what died, unless that may have died with a lock of the queues between the processes in its hands:
    an idle worker and the monitor wait holding one, and without it no other would ever get a task again."""

    task_queue: Any

    def start(self) -> None:
        self.task_queue = HandOver(self.task_queue)
        super().start()

    def spawn_pusher(self) -> Any:
        return self.spawn_process(push, self.task_queue, self.event_out, self.broker.list_key)

    def reincarnate(self, process: Any) -> None:
        killed = process.exitcode is not None and process.exitcode < 0
        idle_worker = process in self.pool and process.timer.value == -1
        if killed and (idle_worker or process == self.monitor):
            logger.critical("a process of the cluster was killed while it held a lock: starting all anew")
            os._exit(1)
        if process == self.pusher:
            self.task_queue.pusher_died()
        super().reincarnate(process)


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
