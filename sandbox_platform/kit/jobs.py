"""Periodic jobs. Each app declares its jobs in a module named `jobs`. Every keeper runs them, but for those that say
that they run in the callbacks service.

A job may run on several nodes at the same time: the first does the work, the others find it done.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import Error, connection
from django.utils import timezone
from django.utils.module_loading import autodiscover_modules

from sandbox_platform.kit.failures import without_text
from sandbox_platform.kit.services import Service
from sandbox_platform.kit.sources import Source

logger = logging.getLogger(__name__)

TICK_S = 2.0


@dataclass(frozen=True)
class LastRun:
    """A job's last run, for the console. `at`: when, None if it never ran; `words`: what it did."""

    at: datetime | None = None
    words: str = ""


@dataclass(frozen=True)
class Job:
    """Work that keepers repeat.

    `every`: the interval at which it is due. `look_every_s`: the interval at which the keeper calls `work`, which
    decides whether it is due. `in_tick`: work quick enough for the keeper's own thread, at each tick; other jobs have
    a thread each. `wakes_on`: a NOTIFY channel that makes the job due at once. `recorded`: the last run is on record,
    so the console can report that the job is late. `runs_in`: the service whose processes run it, KEEPER or CALLBACKS.
    """

    name: str
    purpose: str
    every: timedelta
    work: Callable[[], object]
    look_every_s: float = 60.0
    first_s: float = 0.0
    in_tick: bool = False
    wakes_on: str = ""
    recorded: bool = False
    runs_in: Service = Service.KEEPER
    last_run: Callable[[], LastRun] = field(default=LastRun)


@dataclass(frozen=True)
class Run:
    """One run of a job on this node. `ended_at`: None while it runs; `error`: the class of its exception, or ""."""

    job: str
    started_at: datetime
    ended_at: datetime | None = None
    error: str = ""


record: Source[[Run], None] = Source("where runs of jobs are recorded")
# A job that runs every two seconds is recorded this often, and when it begins to fail or to work again.
RECORD_EVERY_S = 60.0
_declared: dict[str, Job] = {}
# When the end of each job's run was recorded last, by time.monotonic(), with its error.
_recorded: dict[str, tuple[float, str]] = {}


def declare(job: Job) -> Job:
    if _declared.setdefault(job.name, job) != job:
        raise ValueError(f"two jobs are named {job.name!r}")
    return job


def declared() -> list[Job]:
    """Return the jobs of all apps, in the order of INSTALLED_APPS."""
    autodiscover_modules("jobs")
    return list(_declared.values())


def of(service: Service) -> list[Job]:
    """Return the jobs that the processes of the service run."""
    return [job for job in declared() if job.runs_in == service]


def run(job: Job) -> None:
    """Do the job's work, and record when it ran and how it ended. Raises what the work raises."""
    started = timezone.now()
    if not job.in_tick:
        _record(Run(job.name, started))
    error = ""
    try:
        job.work()
    except Exception as e:
        error = type(e).__name__
        raise
    finally:
        at, before = _recorded.get(job.name, (-RECORD_EVERY_S, ""))
        if not job.in_tick or error != before or time.monotonic() - at >= RECORD_EVERY_S:
            _recorded[job.name] = time.monotonic(), error
            _record(Run(job.name, started, timezone.now(), error))


def _record(run: Run) -> None:
    try:
        record(run)
    except Error as e:  # Postgres is away: the work counts, and its own failure is reported
        logger.warning("job %s: its run is not recorded: %s", run.job, type(e).__name__)


class JobThread:
    """Runs one job in a thread of its own, so that it does not delay the keeper's work on the pool."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._thread = ThreadPoolExecutor(1, job.name)
        self._running: Future[None] | None = None
        self._next = time.monotonic() + job.first_s

    def tick(self) -> None:
        if time.monotonic() < self._next or (self._running and not self._running.done()):
            return
        self._next = time.monotonic() + self._job.look_every_s
        self._running = self._thread.submit(self._run)

    def stop(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    def _run(self) -> None:
        try:
            run(self._job)
        except Exception as e:
            # The outermost frame of the thread: no failure may end the job, and the next call of `work` retries.
            logger.error("job %s failed and will be retried: %s", self._job.name, without_text(e))
        finally:
            connection.close()
