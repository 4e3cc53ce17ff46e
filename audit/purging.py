"""The retention job: purge what the policies no longer keep, in batches, each with a purge record."""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, Model, OuterRef, Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from audit import partitions
from audit.models import ExecutionPart, Leaf, PurgeRecord, RetentionPolicy
from audit.sources import BLANK
from executions.failures import grouping
from executions.models import Artifact, Execution, InputFile
from executions.models.ids import first_id
from usage.rollup import count_purged

logger = logging.getLogger(__name__)

BATCH = 500
# With "0 days", a caller still has this long to fetch the result.
GRACE = timedelta(minutes=10)
# Tolerance between the clocks of the node that created an execution's id and the node that ended it.
CLOCKS_DIFFER = timedelta(hours=1)


def purge() -> Iterator[PurgeRecord]:
    """Purge everything that is due. Yield the record of each batch after its commit."""
    waits = yield from partitions.drop_due()
    for policy in RetentionPolicy.objects.select_related("client"):
        # Purge whole records first: their parts then need no purge.
        for kind in (ExecutionPart.METADATA, ExecutionPart.CODE, ExecutionPart.OUTPUT, ExecutionPart.ARTIFACTS):
            days = policy.days(kind)
            if waits and kind == ExecutionPart.METADATA:
                continue  # the rows of a month that can be dropped soon are not deleted one by one
            done: UUID | None = None
            # Each batch starts where the last one ended, so that purged executions are skipped only once.
            while days is not None and (record := _purge_batch(policy, kind, days, after=done)):
                done = record.last_id
                logger.info("%s: %s, %s days", record, record.policy, days)
                yield record


def _purge_batch(
    policy: RetentionPolicy, kind: ExecutionPart, days: int, *, after: UUID | None = None
) -> PurgeRecord | None:
    now = timezone.now()
    cutoff = now - max(timedelta(days=days), GRACE)
    if kind == ExecutionPart.METADATA:
        cutoff = partitions.whole_months(cutoff)
    with transaction.atomic():
        grouping.hold()
        # SKIP LOCKED: two concurrent purges would only wait for each other's rows.
        due = due_by(cutoff, _due(policy, kind)).select_for_update(skip_locked=True, of=("self",))
        if after:
            due = due.filter(pk__gt=after)
        ids = list(due.order_by("id").values_list("id", flat=True)[:BATCH])
        if not ids:
            return None
        record = PurgeRecord.objects.create(
            kind=kind,
            policy=str(policy),
            keep_days=days,
            cutoff=cutoff,
            count=len(ids),
            first_id=ids[0],
            last_id=ids[-1],
            ids=ids,
            created_at=now,
        )
        _purge_part(kind, ids)
    return record


def due_by(cutoff: datetime, executions: QuerySet[Execution]) -> QuerySet[Execution]:
    # An execution ends after its id was created: this bounds the scan of the primary key.
    return executions.filter(finished_at__lte=cutoff, pk__lt=first_id(cutoff + CLOCKS_DIFFER))


def _due(policy: RetentionPolicy, kind: ExecutionPart) -> QuerySet[Execution]:
    """Return the policy's sealed executions that still have this part."""
    executions = Execution.objects.filter(_whose(policy), finished_at__isnull=False)
    leaves = Leaf.objects.filter(source=Execution._meta.db_table, row_id=Cast(OuterRef("id"), TextField()))
    if kind == ExecutionPart.ARTIFACTS:
        artifacts = Artifact.objects.filter(execution=OuterRef("id"))
        executions = executions.filter(Exists(artifacts), artifact_count__gt=0)
    elif kind in BLANK:
        blank = Q(**{name: value for name, value in BLANK[kind].items() if value is not None})
        blank &= Q(**{f"{name}__isnull": True for name, value in BLANK[kind].items() if value is None})
        inputs = InputFile.objects.filter(execution=OuterRef("id"))
        still = ~blank | Q(Exists(inputs)) if kind == ExecutionPart.CODE else ~blank
        executions = executions.filter(still)
    return executions.filter(Exists(leaves))


def _whose(policy: RetentionPolicy) -> Q:
    if policy.client:
        return Q(client=policy.client)
    own = RetentionPolicy.objects.filter(client__isnull=False).values("client")
    return Q(client__isnull=True) | ~Q(client__in=own)


def _purge_part(kind: ExecutionPart, ids: list[UUID]) -> None:
    if kind in BLANK:
        _blank(kind, ids)
        return
    if kind == ExecutionPart.ARTIFACTS:
        delete_rows(Artifact.objects.filter(execution__in=ids))
        return
    count_purged(ids)
    groups = grouping.quoting(ids)
    _delete_with_related(Execution, "pk__in", ids)
    grouping.forget_messages(groups)


def _blank(kind: ExecutionPart, ids: list[UUID]) -> None:
    Execution.objects.filter(pk__in=ids).update(**BLANK[kind])
    if kind == ExecutionPart.CODE:
        delete_rows(InputFile.objects.filter(execution__in=ids))
    if kind == ExecutionPart.OUTPUT:
        grouping.forget_messages(grouping.quoting(ids))


def _delete_with_related(model: type[Model], lookup: str, ids: list[UUID]) -> None:
    for relation in model._meta.related_objects:
        _delete_with_related(relation.related_model, f"{relation.field.name}__{lookup}", ids)
    delete_rows(model._base_manager.filter(**{lookup: ids}))


def delete_rows(rows: QuerySet[Any]) -> None:
    """Delete without Django's collector, which would enforce PROTECT and load the rows."""
    rows._raw_delete(rows.db)
