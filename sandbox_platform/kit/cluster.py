"""django-q2's cluster, extended to survive the sudden death of its own processes.

Its sentinel and guard are used. What it does with a task is replaced: django-q2 unpickles rows of the database, calls
the functions that they name (see tasks.py), and passes each result to one more process, which here would store nothing.
"""

import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from django.db import Error, close_old_connections, connection
from django.utils import timezone
from django_q import cluster
from django_q.conf import Conf
from django_q.exceptions import TimeoutException
from django_q.timeout import TimeoutHandler

from sandbox_platform.kit import liveness, tasks, tracing
from sandbox_platform.kit.broker import NotifyBroker
from sandbox_platform.kit.failures import without_text
from sandbox_platform.kit.jobs import Job, JobThread

logger = logging.getLogger(__name__)

STOP = "STOP"  # what the sentinel puts into the queue for each worker that is to end
# Values of a worker's timer, which the guard reads. A positive value is the time that the task may still take.
IDLE, OVERDUE, RECYCLED = -1, 0, -2
GUARD_GRACE_S = 3  # the worker notices an overdue task itself, before the guard does
FAILED = """
    INSERT INTO django_q_task
        (id, name, func, args, result, cluster, started, stopped, success, attempt_count)
    VALUES (%s, %s, %s, %s, %s, %s, %s, now(), false, 1)
"""


class HandOver:
    """The queue between the pusher and the workers. No task waits in it.

    The pusher takes a task only when a worker asks for one. A task taken earlier could not be overtaken by another
    client's task, and would be lost with this process. Its queue is a plain pipe: multiprocessing.Queue would pass each
    task through a thread of its own first.
    """

    def __init__(self) -> None:
        context = cluster.get_mp_context()
        self._queue = context.SimpleQueue()
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

    def empty(self) -> bool:
        return bool(self._queue.empty())

    def qsize(self) -> int:
        """Return 0 or 1: at most one task is on its way."""
        return 0 if self.empty() else 1

    def close(self) -> None:
        """Do nothing: the sentinel calls this before its workers have ended, and they still read."""

    def join_thread(self) -> None:
        """Do nothing: there is no thread."""


class Broker(Protocol):
    def dequeue(self) -> list[tuple[int, str]] | None:
        """Return the taken tasks as (id, payload)."""


def push(handover: HandOver, stop: Any, broker: Broker) -> None:
    """Hand the queue's tasks to the workers until the event `stop` is set. Runs in a process of its own."""
    while not stop.is_set():
        for _, payload in broker.dequeue() or ():
            handover.put(payload)


def work(handover: HandOver, queue: str, timer: Any, warm: Callable[[], None] | None) -> None:
    """Run tasks one after the other. Returns after STOP, an overdue task, or so many that the process is renewed."""
    if warm:
        warm()
    for number, payload in enumerate(iter(handover.get, STOP), 1):
        close_old_connections()
        timer.value = Conf.TIMEOUT + GUARD_GRACE_S
        in_time = run_task(payload, queue)
        with timer.get_lock():
            timer.value = OVERDUE if not in_time else RECYCLED if number == Conf.RECYCLE else IDLE
            if timer.value != IDLE:
                break
    tracing.flush()


def run_task(payload: str, queue: str) -> bool:
    """Run the task that the row names. Return False if it took too long. Records failures, raises none."""
    started, call = timezone.now(), None
    try:
        call = tasks.read(payload)
        if call.task.queue != queue:
            raise tasks.BadPayload(f"The task {call.task.name} is not for the queue {queue}.")
        with TimeoutHandler(Conf.TIMEOUT):
            call.run()
    except (Exception, TimeoutException) as e:
        # The outermost frame of a task: the worker goes on with the next.
        record_failure(call, queue, started, e)
        return not isinstance(e, TimeoutException)
    return True


def record_failure(call: tasks.Call | None, queue: str, started: datetime, e: BaseException) -> None:
    """Store the failed task for the console: first the reason in a line, then the traceback.

    The message of a database error is left out: it may quote a row, and with it a program.
    """
    name = call.task.name if call else "unreadable"
    subject = " ".join(map(str, call.arguments)) if call else ""
    reason = type(e).__name__ if isinstance(e, Error) else f"{type(e).__name__}: {e}"
    logger.error("task %s %s failed: %s", name, subject, type(e).__name__)
    trace = without_text(e).partition("\n")[2]
    error = f"{reason}\n{trace}".replace("\0", "\ufffd")
    arguments = json.dumps(call.arguments if call else [])
    values: list[Any] = [
        uuid4().hex,
        subject[:100].replace("\0", "\ufffd"),
        name,
        arguments,
        error,
        queue,
        started,
    ]
    try:
        with connection.cursor() as cursor:
            cursor.execute(FAILED, values)
    except Error as failure:
        logger.error("the failure was not stored: %s", type(failure).__name__)


class NoMonitor:
    """Stands for django-q2's process that stores results: here, workers store failures themselves."""

    pid = None

    def __init__(self, stop: Any) -> None:
        self._stop = stop

    def is_alive(self) -> bool:
        return not self._stop.is_set()


class Sentinel(cluster.Sentinel):  # type: ignore[misc]
    """Replaces a dead process, unless it may have held the lock of the queue between the processes.

    An idle worker holds this lock while it waits. If one is killed then, no worker ever gets a task again, so the whole
    cluster restarts.
    """

    task_queue: Any
    warm: Callable[[], None] | None = None  # called in each new worker

    def start(self) -> None:
        self.task_queue = HandOver()
        super().start()

    def spawn_pusher(self) -> Any:
        broker = NotifyBroker(self.broker.list_key, workers=self.task_queue)
        return self.spawn_process(push, self.task_queue, self.event_out, broker)

    def spawn_worker(self) -> None:
        context = cluster.get_mp_context()
        timer = context.Value("f", IDLE)
        process = context.Process(target=work, args=(self.task_queue, self.broker.list_key, timer, self.warm))
        process.daemon = Conf.DAEMONIZE_WORKERS
        process.timer = timer
        self.pool.append(process)
        process.start()

    def spawn_monitor(self) -> NoMonitor:
        return NoMonitor(self.event_out)

    def reincarnate(self, process: Any) -> None:
        killed = process.exitcode is not None and process.exitcode < 0
        if killed and process in self.pool and process.timer.value == IDLE:
            logger.critical("a process of the cluster was killed while it held a lock: restarting the cluster")
            os._exit(1)
        if process == self.pusher:
            self.task_queue.pusher_died()
        super().reincarnate(process)


def run(warm: Callable[[], None] | None = None, jobs: Iterable[Job] = ()) -> None:
    """Run the cluster until it is stopped, and the periodic jobs in threads of this process.

    If the sentinel dies, kill its children and start the whole cluster again in this process, by exec. `warm` is called
    in each new worker of the cluster.
    """
    liveness.begin_cluster()
    Sentinel.warm = staticmethod(warm) if warm else None
    cluster.Sentinel = Sentinel  # Cluster.start() looks the class up there
    running = cluster.Cluster()
    running.start()
    sentinel = running.sentinel
    children: list[int] = []
    # After the start, which forks: no process gets a copy of these threads.
    threads = [JobThread(job) for job in jobs]
    while sentinel.is_alive():
        children = children_of(sentinel.pid) or children
        for thread in threads:
            thread.tick()
        sentinel.join(1)
    for thread in threads:
        thread.stop()
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
