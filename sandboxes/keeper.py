"""The pool keeper: starts warm sandboxes, removes used ones, and lets leftovers.py repair what dead processes left.

An advisory lock ensures one keeper per node. All its state can be read again from Postgres and Docker, so it may die
at any time.
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.db.models import QuerySet
from django.utils import timezone

from clients.models import Client
from runtimes.models import Network, Runtime
from sandbox_platform.kit import jobs, liveness, tracing
from sandbox_platform.kit.compiled import Compiled
from sandbox_platform.kit.failures import without_text
from sandbox_platform.kit.heartbeat import Heartbeat
from sandbox_platform.kit.jobs import TICK_S, Job, JobThread
from sandbox_platform.kit.notify import (
    CANCEL,
    CLAIMED,
    IMAGE_ASKED,
    POOL,
    READY,
    USED,
    WAITS,
    Listener,
    Notification,
    notify,
    ready_channel,
)
from sandbox_platform.kit.prepared import prepared
from sandboxes import images, leftovers, nodes, pool, turns
from sandboxes.calls import CALL_AGAIN_S, Calls, SandboxKind, Unreadable, of_payload
from sandboxes.configuration import SandboxConfiguration
from sandboxes.demand import Demand
from sandboxes.engine import Engine, EngineError, ImageMissing
from sandboxes.models import Sandbox, SandboxState
from sandboxes.sources.source import SourceUnavailable
from seccomp_profiles.models import hash_rules

logger = logging.getLogger(__name__)

RECONNECT_S = 1.0
# Under load notifications come in bursts, which one pass over the rows can answer.
COALESCE_S = 0.01
# Delay between a claim or an end and the next pass: a start or a removal occupies both cores for a while, which the
# run that has just begun, or the answer being sent, needs more.
PAUSE_S = 0.08
# How often to look for and kill the sandbox of a cancelled execution, until the execution has ended.
KILL_AGAIN_S = 0.2
REMOVALS = 4
# The columns of a runtime that a pass over the pool needs. Under load there are several passes per run.
POOLED = (
    "pk",
    "enabled",
    "pool_min",
    "pool_max",
    "revision",
    "network",
    "seccomp_profile",
    "seccomp_profile__active__sha256",
)
# Time for a dismissed sandbox to end by itself, which costs less than killing it.
GOODBYE_S = 2


OF_NODE = Compiled(lambda node: Sandbox.objects.filter(node=node), node="-")


class Occupancy(Protocol):
    """What a keeper must know about executions, whose tables belong to a higher room."""

    def running(self, node: str) -> Iterable[tuple[UUID, SandboxKind]]:
        """Return the executions that a worker of the node has taken, with the kind of sandbox each needs."""

    def cancelled(self, node: str) -> Collection[UUID]:
        """Return the running executions of the node whose cancellation was requested."""

    def unfinished(self, executions: Collection[UUID]) -> set[UUID]:
        """Return those of the executions that are queued or running."""


class Start(NamedTuple):
    kind: SandboxKind
    begun: datetime


class Keeper:
    """Keeps one node's pool and runs the periodic jobs of all rooms."""

    def __init__(self, engine: Engine, occupancy: Occupancy, declared: Iterable[Job]) -> None:
        self._engine = engine
        self._occupancy = occupancy
        self._demand = Demand()
        self._calls = Calls(turns.due)
        self._starts: dict[Future[None], Start] = {}
        self._removals: dict[int, Future[None]] = {}
        self._starters = ThreadPoolExecutor(settings.SANDBOX_STARTS, "start")
        self._removers = ThreadPoolExecutor(REMOVALS, "remove")
        self._retry_at: dict[SandboxKind, float] = {}
        # Read again at each tick, and when a change is announced: under load there are several looks a run. Nobody
        # claims a sandbox of an old configuration, so one that is started from a stale one is only wasted.
        self._pooled: dict[SandboxKind, Any] = {}
        self._configured: dict[int, Runtime] = {}
        self._kill_again_at = self._call_again_at = math.inf
        self._in_tick = [job for job in declared if job.in_tick]
        self._threads = [JobThread(job) for job in declared if not job.in_tick]
        self._stop = self._started = False

    def stop(self) -> None:
        self._stop = True

    def run(self) -> None:
        while not self._stop:
            try:
                self._serve()
            except (OperationalError, InterfaceError, psycopg.Error) as e:
                logger.warning("Postgres is unavailable (%s)", type(e).__name__)
                connection.close()
                time.sleep(RECONNECT_S)
        self._starters.shutdown(cancel_futures=True)
        self._removers.shutdown()
        for thread in self._threads:
            thread.stop()
        tracing.flush()

    def _serve(self) -> None:
        channels = {job.wakes_on for job in self._in_tick if job.wakes_on}
        with Listener(POOL, CANCEL, IMAGE_ASKED, *channels) as listener:
            liveness.hold_keeper(listener.connection, settings.SANDBOX_NODE)
            logger.info("keeping the pool of node %s", settings.SANDBOX_NODE)
            if not self._started and nodes.started():
                logger.info("node %s takes work again: its own stop had drained it", settings.SANDBOX_NODE)
            # Only then: a lost connection is no start.
            self._started = True
            next_tick = next_step = 0.0
            heart = Heartbeat("keeper")
            while not self._stop:
                if time.monotonic() >= next_tick:
                    self._tick()
                    for thread in self._threads:
                        thread.tick()
                    next_tick = time.monotonic() + TICK_S
                if time.monotonic() >= next_step:
                    self._step()
                    next_step = min(next_tick, self._call_again_at)
                if time.monotonic() >= self._kill_again_at:
                    self._kill_cancelled()
                next_look = min(next_step, next_tick, self._kill_again_at)
                heard = listener.wait(max(0.0, next_look - time.monotonic()))
                heart.beat()
                for notification in heard:
                    with suppress(Unreadable):
                        next_step = min(next_step, time.monotonic() + self._hear(notification))

    def _hear(self, notification: Notification) -> float:
        """Handle a notification; return the seconds until the next pass over the pool."""
        if notification.channel == CANCEL:
            self._kill_cancelled()
        elif notification.channel == IMAGE_ASKED:
            self._tell_image(notification.payload)
        elif woken := [job for job in self._in_tick if job.wakes_on == notification.channel]:
            for job in woken:
                jobs.run(job)
            return TICK_S
        elif notification.payload.startswith(CLAIMED):
            kind, execution = of_payload(notification.payload.removeprefix(CLAIMED))
            self._demand.claimed(kind)
            self._calls.served(kind, execution)
            return PAUSE_S if self._can_start() else TICK_S
        elif notification.payload.startswith(WAITS):
            kind, execution = of_payload(notification.payload.removeprefix(WAITS))
            if not self._calls.waits(kind, execution) or not self._can_start():
                return TICK_S
        elif notification.payload == USED:
            return PAUSE_S
        elif notification.payload != READY:
            self._forget_configuration()
        return COALESCE_S

    def _forget_configuration(self) -> None:
        self._pooled.clear()
        self._configured.clear()

    def _can_start(self) -> bool:
        """Return whether a start slot is free. If not, the READY of a running start triggers the next pass."""
        return sum(not future.done() for future in self._starts) < settings.SANDBOX_STARTS

    def _tick(self) -> None:
        """Handle what no notification announces: deaths of processes, and changes made with plain SQL."""
        self._forget_configuration()
        for job in self._in_tick:
            jobs.run(job)
        self._kill_cancelled()
        try:
            ours_since = min((s.begun for f, s in self._starts.items() if not f.done()), default=timezone.now())
            leftovers.reconcile(self._engine, self._occupancy.unfinished, ours_since)
        except EngineError as e:
            logger.warning("the engine is unavailable: %s", e)

    def _step(self) -> None:
        self._call_again_at = math.inf
        self._starts = {future: start for future, start in self._starts.items() if not future.done()}
        self._removals = {pk: future for pk, future in self._removals.items() if not future.done()}
        rows = OF_NODE(node=settings.SANDBOX_NODE)
        for sandbox in rows:
            if sandbox.state == SandboxState.USED and sandbox.pk not in self._removals:
                self._removals[sandbox.pk] = self._removers.submit(in_thread, self._remove, sandbox)
        with prepared():
            self._refill(rows)

    def _mine(self) -> QuerySet[Sandbox]:
        return Sandbox.objects.filter(node=settings.SANDBOX_NODE)

    def _kill_cancelled(self) -> None:
        cancelled = self._occupancy.cancelled(settings.SANDBOX_NODE)
        # Repeat: an execution that was claimed a moment ago may get its sandbox only after this pass.
        self._kill_again_at = time.monotonic() + KILL_AGAIN_S if cancelled else math.inf
        for sandbox in self._mine().filter(execution_id__in=cancelled).exclude(container_id=""):
            try:
                self._engine.kill(sandbox.container_id)
            except EngineError as e:
                logger.warning("cancel: sandbox %s: %s", sandbox, e)

    def _tell_image(self, question: str) -> None:
        reference, channel = images.of_question(question)
        try:
            notify(channel, self._engine.image_id(reference))
        except (ImageMissing, SourceUnavailable) as e:
            logger.info("image %s: %s", reference, e)
            notify(channel)
        except EngineError as e:
            logger.warning("image %s: %s", reference, e)

    # -- refill ---------------------------------------------------------------------------------------

    def _refill(self, rows: list[Sandbox]) -> None:
        served = {row.execution_id for row in rows}
        running = self._occupancy.running(settings.SANDBOX_NODE)
        waiting: Counter[SandboxKind] = Counter(kind for pk, kind in running if pk not in served)
        starting = Counter(start.kind for start in self._starts.values())
        wishes: list[tuple[bool, int, SandboxKind]] = []
        if not self._pooled:
            self._pooled = {(runtime.pk, network): runtime for runtime, network in kinds()}
        # No run can claim a ready sandbox of a kind that is no longer pooled.
        if gone := [row.pk for row in rows if row.state == SandboxState.READY and row.kind not in self._pooled]:
            retire_ready(self._mine().filter(pk__in=gone))
        for kind, runtime in self._pooled.items():
            ready = self._ready(kind, runtime, rows)
            if ready:
                self._call(kind)
            target = min(runtime.pool_max, max(runtime.pool_min, self._demand.peak(kind)))
            if len(ready) > target + waiting[kind]:
                retire_ready(self._mine().filter(pk__in=[row.pk for row in ready[target:]]))
            if runtime.enabled and self._retry_at.get(kind, 0) <= time.monotonic():
                owed = waiting[kind] - len(ready) - starting[kind]
                wanted = max(target, waiting[kind]) - len(ready) - starting[kind]
                wishes += [(number >= owed, number, kind) for number in range(wanted)]
        # Start sandboxes that a run waits for first; then let the runtimes take turns.
        wishes.sort(key=lambda wish: wish[:2])
        chosen = [kind for _, _, kind in wishes[: max(0, settings.SANDBOX_STARTS - len(self._starts))]]
        if unread := {pk for pk, _ in chosen} - self._configured.keys():
            runtimes = Runtime.objects.lean().select_related("seccomp_profile__active")
            self._configured |= runtimes.in_bulk(unread)
        if chosen:
            starts: dict[str, Any] = {"sandbox.starts": len(chosen)}
            with tracing.span("refill", **starts):
                self._start_all(chosen)

    def _start_all(self, chosen: list[SandboxKind]) -> None:
        for pk, network in chosen:
            if pk in self._configured:
                configuration = SandboxConfiguration.of_runtime(self._configured[pk], network)
                start = Start(configuration.kind, timezone.now())
                work = partial(self._start, refill=tracing.traceparent())
                self._starts[self._starters.submit(in_thread, work, configuration)] = start

    def _call(self, kind: SandboxKind) -> None:
        """Call the runs that may claim the ready sandboxes. Look again soon: who was called may be dead."""
        for called in self._calls.next(kind):
            notify(ready_channel(called))
        if self._calls.anyone(kind):
            self._call_again_at = min(self._call_again_at, time.monotonic() + CALL_AGAIN_S)

    def _ready(self, kind: SandboxKind, runtime: Any, rows: list[Sandbox]) -> list[Sandbox]:
        """The ready sandboxes of a kind, oldest first. Those of an old configuration are retired."""
        ready = [row for row in rows if row.kind == kind and row.state == SandboxState.READY]
        filtered = runtime.seccomp_profile__active__sha256 if runtime.seccomp_profile else hash_rules(None)
        key = (runtime.revision, filtered)
        current = [row for row in ready if (row.runtime_revision, row.profile_sha256) == key and runtime.enabled]
        if len(current) < len(ready):
            retire_ready(self._mine().filter(pk__in=[row.pk for row in ready if row not in current]))
        return current

    def _start(self, configuration: SandboxConfiguration, *, refill: str = "") -> None:
        """Start a sandbox. `refill`: the span that began it in another thread."""
        runtime, kind = configuration.runtime, configuration.kind
        try:
            pool.start(self._engine, configuration, call=self._calls.next, parent=refill)
            self._retry_at.pop(kind, None)
        except EngineError as e:
            # Pause: an image that cannot start must not keep the node busy. A caller gets the error from its own run.
            pause = 10 if isinstance(e, ImageMissing) else 2
            self._retry_at[kind] = time.monotonic() + pause
            logger.error("runtime %s: warm sandbox failed to start: %s", runtime, e)

    # -- removal --------------------------------------------------------------------------------------

    def _remove(self, sandbox: Sandbox) -> None:
        try:
            if sandbox.container_id:
                self._engine.remove(sandbox.container_id, patience_s=GOODBYE_S)
        except EngineError as e:
            logger.warning("sandbox %s: removal failed, will retry: %s", sandbox, e)
            time.sleep(1)
            return
        sandbox.delete()


def kinds() -> Iterator[tuple[Any, str]]:
    """Yield (row of POOLED, network) for each pool to keep.

    Each runtime has a pool without egress, and one with doors if it and any enabled client have egress. A node that is
    being drained keeps nothing warm.
    """
    kept = {"pool_min": 0, "pool_max": 0} if nodes.is_draining() else {}
    clients = Client.objects.filter(enabled=True, network=Network.EGRESS).exists()
    for runtime in (row._replace(**kept) for row in Runtime.objects.values_list(*POOLED, named=True)):
        yield runtime, Network.NONE
        if clients and runtime.network == Network.EGRESS:
            yield runtime, Network.EGRESS


def retire_ready(sandboxes: QuerySet[Sandbox]) -> None:
    """Mark the sandboxes as used, except those claimed meanwhile: the condition is part of the UPDATE."""
    sandboxes.filter(state=SandboxState.READY).update(state=SandboxState.USED)


def in_thread(work: Callable[..., None], argument: object) -> None:
    """Call `work` as the outermost frame of a pool thread: log every error, raise none."""
    try:
        work(argument)
    except (OperationalError, InterfaceError) as e:
        logger.warning("Postgres is unavailable (%s)", type(e).__name__)
        connection.close()
    except Exception as e:
        # Without this the error would vanish in the Future. The next pass tries again.
        logger.error("keeper: %s", without_text(e))
