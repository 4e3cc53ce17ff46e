"""Request inspections: probes, learning, dry runs and traces. Workers run them, one at a time on each node."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from clients.admission import admit, check_runtime
from clients.models import Client
from clients.profiles import runtimes_under
from executions.limits import effective_limits
from executions.models import Execution
from executions.services import violations
from executions.sources import RefusedCalls
from inspections import laboratory, studies
from inspections.models import Inspection, InspectionKind, InspectionState, InspectionVerdict
from runtimes.models import CodePolicy, Runtime
from sandbox_platform.kit.errors import Conflicting, TooMany
from sandbox_platform.kit.locks import Lock, node_key
from sandbox_platform.kit.services import Service
from sandbox_platform.kit.tasks import Task
from sandboxes import nodes
from sandboxes.engine import Engine, EngineError
from seccomp_profiles import revisions
from seccomp_profiles.models import UNCONFINED, SeccompProfile, SeccompRevision

MOST_TRACES = 50
RETRY_AFTER_S = 60


logger = logging.getLogger(__name__)

INSPECT = Task("inspect", "inspections.tasks.inspect", senders=[Service.WEB, Service.WORKER, Service.KEEPER])
OPEN = (InspectionState.QUEUED, InspectionState.RUNNING)
PROBE_EVERY = timedelta(hours=1)
SCHEDULE = "schedule"
KEPT = timedelta(days=7)


@transaction.atomic
def request(
    kind: str,
    *,
    revision: SeccompRevision | None = None,
    runtime: Runtime | None = None,
    execution_id: UUID | None = None,
    node: str = "",
    by: str = "",
    client: Client | None = None,
    **parameters: Any,
) -> Inspection:
    """Queue an inspection, for any node unless `node` names one. Returns an equal probe that is already queued.

    `client`: the one whose quotas the programs count against; None for the platform's own.

    Raises RuntimeNotAllowed, OverLimit and NeverFits of clients.admission.
    """
    if client and runtime:
        check_runtime(client, runtime)
    if kind == InspectionKind.PROBE:
        same = Inspection.objects.filter(
            kind=kind, revision=revision, runtime=runtime, state=InspectionState.QUEUED
        ).first()
        if same:
            return same
    admit(client, _programs(parameters))
    inspection = Inspection.objects.create(
        kind=kind,
        revision=revision,
        runtime=runtime,
        execution_id=execution_id,
        node=node,
        requested_by=by,
        details={"request": parameters} if parameters else {},
    )
    enqueue()
    return inspection


def _programs(parameters: dict[str, Any]) -> int:
    """Return how many programs an inspection runs, the platform's own not counted; at least one."""
    last = parameters.get("last", 0)
    return max(1, len(parameters.get("programs", ())), last if isinstance(last, int) else 0)


def open_of(client: Client) -> int:
    """Return the number of the client's open inspections, which count like its open executions."""
    return Inspection.objects.filter(state__in=OPEN, requested_by=client.actor_name).count()


def explain(execution: Execution, *, by: str, client: Client | None) -> Inspection:
    """Request a trace of the execution. Returns the open trace if there is one.

    A trace runs the program, so it is admitted like a rerun of `client`: the client may use the runtime, the limits
    are not above its caps of today, and its quotas have room.

    Raises Conflicting for an execution that had no profile or cannot be run again as it was, and TooMany; LimitTooHigh;
    and RuntimeNotAllowed and OverLimit of clients.admission.
    """
    check_runtime(client, execution.runtime)
    if not execution.runtime.enabled:
        raise Conflicting(
            f"The runtime {execution.runtime} is disabled.", remedy="An administrator can enable it."
        )
    if not execution.is_finished or not execution.image_id:
        raise Conflicting("The execution never ran, or is still running.", remedy="Wait until it has ended.")
    if execution.profile_name in ("", UNCONFINED):
        raise Conflicting(
            "The execution had no seccomp profile, so no profile refused a system call.",
            remedy="See its standard error: gVisor, or the permissions of a file, refused something.",
        )
    if not studies.is_unchanged(execution):
        raise Conflicting("The program is not stored unchanged.", remedy="Submit it again.")
    traces = Inspection.objects.filter(kind=InspectionKind.TRACE, state__in=OPEN)
    if same := traces.filter(execution_id=execution.pk).first():
        return same
    if traces.count() >= MOST_TRACES:
        raise TooMany(
            f"{MOST_TRACES} traces are already queued or running.",
            remedy=f"Retry in {RETRY_AFTER_S} seconds.",
            retry_after_s=RETRY_AFTER_S,
        )
    effective_limits(execution.runtime, client, execution.limits)
    if execution.runtime.code_policy == CodePolicy.BLOCK and violations(execution.code, execution.runtime):
        raise Conflicting("The code policy rejects the program today.", remedy="Change the program.")
    return request(
        InspectionKind.TRACE, runtime=execution.runtime, execution_id=execution.pk, by=by, client=client
    )


@transaction.atomic
def save_proposal(inspection: Inspection, *, name: str, note: str = "", by: str) -> SeccompRevision:
    """Save the proposed rules as the next revision of the profile `name`, or as a new profile.

    Raises Conflicting and ValidationError.
    """
    rules = inspection.details.get("proposal")
    if inspection.kind != InspectionKind.LEARN or inspection.state != InspectionState.DONE or not rules:
        raise Conflicting(
            f"{inspection} has no proposal.", remedy="Wait until it has ended, or request another inspection."
        )
    note = note or f"Learnt by inspection {inspection.pk}."
    profile = SeccompProfile.objects.filter(name=name).first()
    if profile is None:
        SeccompProfile(name=name).full_clean()
        return revisions.create_profile(name, rules, note=note, by=by).current
    if profile.parent:
        raise Conflicting(f"{profile} extends {profile.parent}.", remedy="Save the proposal under another name.")
    revision = revisions.add_revision(profile, rules, note=note, by=by)
    request_probes(revision, by=by)
    return revision


def enqueue() -> None:
    """Enqueue a task. It runs the inspection that has waited longest when a worker takes the task."""
    INSPECT.enqueue()


def cancel(inspection: Inspection) -> bool:
    """Cancel the inspection; False if it had ended. A running inspection stops before its next sandbox."""
    ended = Inspection.objects.filter(pk=inspection.pk, state__in=OPEN)
    return bool(ended.update(state=InspectionState.CANCELLED, finished_at=timezone.now()))


def in_use() -> Iterator[tuple[SeccompProfile, Runtime]]:
    """Yield each profile in use with each enabled runtime whose sandboxes are started under it."""
    used = Q(runtimes__enabled=True) | Q(clients__enabled=True)
    for profile in SeccompProfile.objects.select_related("active").filter(used).distinct():
        yield from ((profile, runtime) for runtime in runtimes_under(profile))


def request_probes(revision: SeccompRevision, *, by: str) -> list[Inspection]:
    """Request a probe on every enabled runtime that uses the revision's profile."""
    return [
        request(InspectionKind.PROBE, revision=revision, runtime=runtime, by=by)
        for runtime in runtimes_under(revision.profile)
    ]


def without_programs(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters with only the names of the programs: their code is not kept after learning."""
    sent = enumerate(parameters.get("programs", ()), 1)
    names = [studies.program_name(program, number) for number, program in sent]
    return parameters | ({"programs": names} if names else {})


def tend(engine: Engine) -> None:
    """Request the probes that are due, and clean up after dead workers. Keepers call this periodically."""
    with inspection_lock() as locked:
        if locked:
            fail_lost()
            laboratory.sweep(engine)
    fail_of_dead_nodes()
    delete_old()
    if nodes.is_draining():
        return  # its workers take nothing
    for revision, runtime in due(engine):
        request(InspectionKind.PROBE, revision=revision, runtime=runtime, node=settings.SANDBOX_NODE, by=SCHEDULE)
    waiting = Inspection.objects.filter(state=InspectionState.QUEUED, node__in=["", settings.SANDBOX_NODE])
    if locked and waiting.exists():
        enqueue()


@contextmanager
def inspection_lock() -> Iterator[bool]:
    """Try to take this node's lock for inspections, and yield whether it was taken.

    The lock allows one inspection at a time on a node: the node's other workers are for the clients' runs.
    """
    lock = [Lock.INSPECTIONS, node_key(settings.SANDBOX_NODE)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", lock)
        locked = bool(cursor.fetchone()[0])
    try:
        yield locked
    finally:
        if locked:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", lock)


def fail_lost() -> None:
    """Mark the inspections that are running on this node as failed. Call only under the lock: their worker died."""
    lost = Inspection.objects.filter(state=InspectionState.RUNNING, node=settings.SANDBOX_NODE)
    lost.update(
        state=InspectionState.FAILED,
        verdict=InspectionVerdict.ERROR,
        details={"summary": "The worker that ran the inspection died."},
        finished_at=timezone.now(),
    )


def fail_of_dead_nodes() -> None:
    """Mark the open inspections of nodes that are gone as failed: no process of theirs will ever end them."""
    for name in nodes.dead():
        left = Inspection.objects.filter(state__in=OPEN, node=name)
        left.update(
            state=InspectionState.FAILED,
            verdict=InspectionVerdict.ERROR,
            details={"summary": f"Node {name} is gone."},
            finished_at=timezone.now(),
        )


def delete_old() -> None:
    """Delete old probes that the schedule requested. Inspections that people requested stay."""
    old = Inspection.objects.filter(requested_by=SCHEDULE, finished_at__lt=timezone.now() - KEPT)
    old.exclude(kind=InspectionKind.DESCRIBE).delete()


def due(engine: Engine) -> Iterator[tuple[SeccompRevision, Runtime]]:
    """Yield each revision and runtime in use whose last probe on this node is missing or stale."""
    for profile, runtime in in_use():
        revision = profile.current
        probes = Inspection.objects.filter(kind=InspectionKind.PROBE, revision=revision, runtime=runtime)
        if probes.filter(state__in=OPEN).exists():
            continue
        last = probes.filter(node=settings.SANDBOX_NODE).exclude(state=InspectionState.CANCELLED).first()
        try:
            if last is None or is_stale(last, engine, runtime):
                yield revision, runtime
        except EngineError as e:
            logger.warning("probe of %s under %s: %s", runtime, revision, e)


def is_stale(probe: Inspection, engine: Engine, runtime: Runtime) -> bool:
    """Return whether the probe is too old, or its gVisor, image or runtime has changed. Raises EngineError."""
    if probe.finished_at is None or probe.finished_at < timezone.now() - PROBE_EVERY:
        return True
    return probe.state != InspectionState.FAILED and is_changed(probe, engine, runtime)


def is_changed(inspection: Inspection, engine: Engine, runtime: Runtime) -> bool:
    """Return whether gVisor, the image or the runtime has changed since the inspection. Raises EngineError."""
    made_on = (inspection.runsc_version, inspection.image_id, inspection.runtime_revision)
    return made_on != (engine.version(), engine.image_id(runtime.live_image), runtime.revision)


def newest_probes_in_use(*verdicts: str) -> list[Inspection]:
    """Return the newest probe per node of each profile and runtime in use, if its verdict is one of these.

    Makes one query.
    """
    used = Q(runtime__seccomp_profile=F("revision__profile")) | Exists(
        Client.objects.filter(seccomp_profile=OuterRef("revision__profile"), enabled=True)
    )
    newest = Inspection.objects.filter(
        used,
        kind=InspectionKind.PROBE,
        state=InspectionState.DONE,
        revision=F("revision__profile__active"),
        runtime__enabled=True,
        finished_at__gt=timezone.now() - 2 * PROBE_EVERY,
    )
    newest = newest.select_related("revision__profile", "runtime")
    newest = newest.order_by("revision_id", "runtime_id", "node", "-id").distinct(
        "revision_id", "runtime_id", "node"
    )
    return [probe for probe in newest if probe.verdict in verdicts]


def readiness_problems() -> list[str]:
    """Return a sentence for each profile in use that a probe found not enforced.

    A profile that breaks its runtime is left out: an administrator may have activated it on purpose.
    """
    return [
        f"The seccomp profile {probe.revision} is not enforced for {probe.runtime}."
        for probe in newest_probes_in_use(InspectionVerdict.NOT_ENFORCED)
    ]


def refused_calls(execution: Execution) -> RefusedCalls | None:
    trace = Inspection.objects.newest_trace(execution.pk)
    if trace is None:
        return None
    details = trace.details
    return RefusedCalls(trace.state, trace.finished_at, details.get("summary"), details.get("refused"))
