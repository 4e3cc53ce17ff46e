"""django-q2's cluster, extended to survive the sudden death of its own processes."""

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

from sandbox_platform.kit import liveness
from sandbox_platform.kit.broker import NotifyBroker

logger = logging.getLogger(__name__)


class HandOver:
    """The queue between the pusher and the workers. No task waits in it.

    The pusher takes a task only when a worker asks for one. A task taken earlier could not be overtaken by another
    client's task, and would be lost with this process.
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
        """Release the worker that the dead pusher had reserved: it still waits for a task."""
        if self._reserved.value:
            self.give_back()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


def push(tasks: HandOver, stop: Any, queue_name: str) -> None:
    """Run django-q2's pusher with a broker that reserves workers."""
    cluster.pusher(tasks, stop, NotifyBroker(queue_name, workers=tasks))


class Sentinel(cluster.Sentinel):  # type: ignore[misc]
    """Replaces a dead process, unless it may have held a lock of the queues between the processes.

    An idle worker and the monitor hold such a lock while they wait. If one is killed then, no worker ever gets a task
    again, so the whole cluster restarts.
    """

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
            logger.critical("a process of the cluster was killed while it held a lock: restarting the cluster")
            os._exit(1)
        if process == self.pusher:
            self.task_queue.pusher_died()
        super().reincarnate(process)


def run(warm: Callable[..., None] | None = None) -> None:
    """Run the cluster until it is stopped.

    If the sentinel dies, kill its children and start the whole cluster again in this process, by exec. `warm` is called
    in each new process of the cluster.
    """
    liveness.begin_cluster()
    cluster.Sentinel = Sentinel  # Cluster.start() looks the class up there
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
        return  # Cluster.stop() clears the event: the end was requested
    logger.critical("the cluster's sentinel died: restarting the cluster")
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    # exec leaves no state of the broken cluster in this process.
    os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606


def children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
