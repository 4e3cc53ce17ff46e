"""Puts each failed run into its group, exactly once, and removes groups that nothing keeps.

A trigger names a failed run in the transaction that ends it, so a worker's path is an insert longer and no run is
forgotten. The keeper groups what is named: link, counts and the removal of the name are one transaction.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Case, Count, Exists, F, OuterRef, Q, QuerySet, TextField, Value, When
from django.db.models.functions import Concat, Left, Length, Right
from django.db.models.lookups import LessThanOrEqual
from django.utils import timezone

from executions.failures.fingerprints import OTHER, QUOTING, Facts, Fingerprint, fingerprint
from executions.failures.models import FailureGroup, FailureHour, FailurePending, FailureRun
from executions.failures.traces import MOST
from executions.figures import floor_hour
from executions.models import Execution, Outcome
from sandbox_platform.kit.locks import Lock

BATCH = 200
# A caller can make any number of exceptions. Beyond this number, new ones of a client go to its group "Other".
MOST_GROUPS = 500
KEPT = timedelta(days=90)
# A group whose first run is older than this was found in the history, for example at an upgrade: it is no news.
NEWS = timedelta(hours=1)
TIMES = ("queued_at", "enqueued_at", "finished_at")
FACTS = ("status", "outcome", "exit_code", "signal", "message", "code_sha256", "policy_violations")
COUNT_GROUPS = f"""
    UPDATE {FailureGroup._meta.db_table} AS counted SET count = counted.count + more.count,
        first_at = least(counted.first_at, more.first_at), last_at = greatest(counted.last_at, more.last_at)
    FROM unnest(%s::uuid[], %s::int[], %s::timestamptz[], %s::timestamptz[]) AS more (id, count, first_at, last_at)
    WHERE counted.id = more.id
"""  # noqa: S608
COUNT_HOURS = f"""
    INSERT INTO {FailureHour._meta.db_table} (group_id, hour, count)
    SELECT * FROM unnest(%s::uuid[], %s::timestamptz[], %s::int[])
    ON CONFLICT (group_id, hour) DO UPDATE SET count = {FailureHour._meta.db_table}.count + excluded.count
"""  # noqa: S608


@dataclass(frozen=True)
class _Failed:
    execution_id: UUID
    client_id: int | None
    runtime_id: int
    queued_at: datetime
    failed_at: datetime
    fingerprint: Fingerprint

    @property
    def key(self) -> tuple[int | None, str]:
        return self.client_id, self.fingerprint.sha256(self.runtime_id)

    @property
    def other(self) -> tuple[int | None, str]:
        return self.client_id, OTHER.sha256(self.runtime_id)


def group_failures() -> int:
    """Group all runs that have failed since; return how many. Do nothing while another process does it."""
    runs = 0
    last: UUID | None = None
    while step := _group_batch(last):
        runs += len(step)
        last = step[-1]
    return runs


def _group_batch(after: UUID | None) -> list[UUID]:
    """Group the next runs beyond an id, so that those which are done are not skipped again and again."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [Lock.FAILURES])
            if not cursor.fetchone()[0]:
                return []
        pending = FailurePending.objects.filter(pk__gt=after) if after else FailurePending.objects.all()
        ids = list(pending.order_by("pk").values_list("pk", flat=True)[:BATCH])
        if not ids:
            return []
        failed = list(_read(ids))
        _count(failed, _groups_of(failed))
        FailurePending.objects.filter(pk__in=ids).delete()
    return ids


def _ends(name: str) -> Case:
    """Return an expression for a text, or only its two ends: nothing larger is read from the database."""
    return Case(
        When(LessThanOrEqual(Length(name), 2 * MOST), then=F(name)),
        default=Concat(Left(name, MOST), Value("\n"), Right(name, MOST)),
        output_field=TextField(),
    )


def _read(ids: list[UUID]) -> Iterable[_Failed]:
    rows = (
        Execution.objects.filter(pk__in=ids, finished_at__isnull=False, failure__isnull=True)
        .order_by("pk")
        .annotate(errors=_ends("stderr"), printed=_ends("stdout"))
        .values("pk", "client_id", "runtime_id", *TIMES, "errors", "printed", *FACTS)
    )
    for row in rows:
        facts = Facts(stderr=row["errors"], stdout=row["printed"], **{name: row[name] for name in FACTS})
        yield _Failed(
            row["pk"],
            row["client_id"],
            row["runtime_id"],
            row["queued_at"],
            _failed_at(row),
            fingerprint(facts),
        )


def _failed_at(row: dict[str, Any]) -> datetime:
    """Return when the run failed: its end or, if it waited too long, when its time was over.

    A restored backup has runs that waited when it was taken. They end now, and are no news.
    """
    ended: datetime = row["finished_at"]
    if row["outcome"] != Outcome.QUEUE_TIMEOUT:
        return ended
    over: datetime = row["enqueued_at"] + timedelta(milliseconds=settings.SANDBOX_QUEUE_TIMEOUT_MS)
    return min(ended, over)


def _groups_of(failed: list[_Failed]) -> dict[UUID, FailureGroup]:
    """Return the group of each run, by the run's id. Groups that are new are stored."""
    wanted = {sha256 for run in failed for _, sha256 in (run.key, run.other)}
    known = {
        (group.client_id, group.fingerprint): group
        for group in FailureGroup.objects.filter(fingerprint__in=wanted)
    }
    sizes = _sizes({run.client_id for run in failed if run.key not in known})
    found, new, told_again = dict[UUID, FailureGroup](), list[FailureGroup](), list[FailureGroup]()
    now = timezone.now()
    for run in failed:
        key, what = run.key, run.fingerprint
        if key not in known and sizes[run.client_id] >= MOST_GROUPS:
            key, what = run.other, OTHER
        if key not in known:
            known[key] = FailureGroup(
                client_id=run.client_id, runtime_id=run.runtime_id, fingerprint=key[1], kind=what.kind,
                title=what.title, message=what.message, place=what.place, first_at=run.failed_at,
                last_at=run.failed_at, created_at=now,
            )  # fmt: skip
            new.append(known[key])
            sizes[run.client_id] += 1
        if what.message and not known[key].message:  # the output of its runs before has been purged
            known[key].message = what.message
            told_again.append(known[key])
        found[run.execution_id] = known[key]
    FailureGroup.objects.bulk_create(new)
    FailureGroup.objects.bulk_update(told_again, ["message"])
    return found


def _sizes(clients: set[int | None]) -> Counter[int | None]:
    """Return the number of groups of each client."""
    groups = FailureGroup.objects.order_by().values_list("client_id").annotate(Count("pk"))
    return Counter({client: number for client, number in groups if client in clients})


def _count(failed: list[_Failed], groups: dict[UUID, FailureGroup]) -> None:
    FailureRun.objects.bulk_create(
        FailureRun(execution_id=run.execution_id, group=groups[run.execution_id]) for run in failed
    )
    hours = Counter((groups[run.execution_id].pk, floor_hour(run.queued_at)) for run in failed)
    ended = defaultdict[UUID, list[datetime]](list)
    for run in failed:
        ended[groups[run.execution_id].pk].append(run.failed_at)
    counted = [(pk, len(times), min(times), max(times)) for pk, times in ended.items()]
    with connection.cursor() as cursor:
        if counted:
            cursor.execute(COUNT_GROUPS, [list(column) for column in zip(*counted, strict=True)])
            columns = zip(*((pk, hour, number) for (pk, hour), number in hours.items()), strict=True)
            cursor.execute(COUNT_HOURS, [list(column) for column in columns])


def groups_first_seen_since(at: datetime) -> QuerySet[FailureGroup]:
    """Return the groups that appeared since, oldest first, without those found in an older history."""
    new = FailureGroup.objects.filter(created_at__gte=at, first_at__gte=F("created_at") - NEWS)
    return new.select_related("client", "runtime").order_by("created_at")


def hold() -> None:
    """Let no run come to a group until the transaction ends. Take this before the rows of executions."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [Lock.FAILURES])


def quoting(executions: list[UUID]) -> list[FailureGroup]:
    """Return the groups of these runs whose message is a line of their output."""
    return quoting_runs(FailureRun.objects.filter(execution__in=executions))


def quoting_runs(runs: QuerySet[FailureRun]) -> list[FailureGroup]:
    groups = FailureGroup.objects.filter(pk__in=runs.values("group"), kind__in=QUOTING)
    return list(groups.exclude(message=""))


def forget_messages(groups: Iterable[FailureGroup]) -> None:
    """Empty the message of the groups of which no run has its output any more. Kind, title and place stay.

    One group at a time, from its newest run on: that is the last one to lose its output.
    """
    printed = ~Q(execution__stderr="") | ~Q(execution__stdout="")
    for group in groups:
        runs = FailureRun.objects.filter(printed, group=group).order_by("-execution")
        if not list(runs.values_list("pk", flat=True)[:1]):
            FailureGroup.objects.filter(pk=group.pk).update(message="")


def sweep() -> int:
    """Remove groups that have no run left, or none for KEPT, and the counts of older hours; return how many groups."""
    before = timezone.now() - KEPT
    with transaction.atomic():
        hold()
        FailureHour.objects.filter(hour__lt=before).delete()
        runs = FailureRun.objects.filter(group=OuterRef("pk"))
        gone = list(
            FailureGroup.objects.filter(Q(last_at__lt=before) | ~Exists(runs)).values_list("pk", flat=True)
        )
        FailureRun.objects.filter(group__in=gone)._raw_delete("default")
        FailureHour.objects.filter(group__in=gone)._raw_delete("default")
        FailureGroup.objects.filter(pk__in=gone)._raw_delete("default")
        # Purges do that as well. Those of an earlier version did not.
        forget_messages(FailureGroup.objects.filter(kind__in=QUOTING).exclude(message=""))
    return len(gone)
