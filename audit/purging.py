"""The retention job: takes away what the policies do not keep, in batches, each on record."""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, Model, OuterRef, Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from audit.models import Kind, Leaf, PurgeRecord, RetentionPolicy
from audit.sources import BLANK
from executions.models import Artifact, Execution, InputFile
from executions.models.ids import first_id

logger = logging.getLogger(__name__)

BATCH = 500
# "0 days" still leaves a caller the time to fetch what it asked for.
GRACE = timedelta(minutes=10)
# Of the node that made an id and the one that ended its execution.
CLOCKS_DIFFER = timedelta(hours=1)


def purge() -> Iterator[PurgeRecord]:
    """Purges all that is due; yields the record of each batch when it is done."""
    for policy in RetentionPolicy.objects.select_related("client"):
        # The whole record first: its parts need no purge of their own then.
        for kind in (Kind.METADATA, Kind.CODE, Kind.OUTPUT, Kind.ARTIFACTS):
            days = policy.days(kind)
            done: UUID | None = None
            # Each batch goes on where the last one ended: what is purged already is passed once, not by each.
            while days is not None and (record := _purge_batch(policy, kind, days, after=done)):
                done = record.last_id
                logger.info("%s: %s, %s days", record, record.policy, days)
                yield record


def _purge_batch(
    policy: RetentionPolicy, kind: Kind, days: int, *, after: UUID | None = None
) -> PurgeRecord | None:
    now = timezone.now()
    cutoff = now - max(timedelta(days=days), GRACE)
    with transaction.atomic():
        # Two purges at once would only wait for each other's rows.
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
        _take_away(kind, ids)
    return record


def due_by(cutoff: datetime, executions: QuerySet[Execution]) -> QuerySet[Execution]:
    # None ends before its id is made, which bounds the walk through the primary key.
    return executions.filter(finished_at__lte=cutoff, pk__lt=first_id(cutoff + CLOCKS_DIFFER))


def _due(policy: RetentionPolicy, kind: Kind) -> QuerySet[Execution]:
    """The policy's executions that are sealed and still have it."""
    executions = Execution.objects.filter(_whose(policy), finished_at__isnull=False)
    leaves = Leaf.objects.filter(source=Execution._meta.db_table, row_id=Cast(OuterRef("id"), TextField()))
    if kind == Kind.ARTIFACTS:
        artifacts = Artifact.objects.filter(execution=OuterRef("id"))
        executions = executions.filter(Exists(artifacts), artifact_count__gt=0)
    elif kind in BLANK:
        blank = Q(**{name: value for name, value in BLANK[kind].items() if value is not None})
        blank &= Q(**{f"{name}__isnull": True for name, value in BLANK[kind].items() if value is None})
        inputs = InputFile.objects.filter(execution=OuterRef("id"))
        still = ~blank | Q(Exists(inputs)) if kind == Kind.CODE else ~blank
        executions = executions.filter(still)
    return executions.filter(Exists(leaves))


def _whose(policy: RetentionPolicy) -> Q:
    if policy.client:
        return Q(client=policy.client)
    own = RetentionPolicy.objects.filter(client__isnull=False).values("client")
    return Q(client__isnull=True) | ~Q(client__in=own)


def _take_away(kind: Kind, ids: list[UUID]) -> None:
    executions = Execution.objects.filter(pk__in=ids)
    if kind in BLANK:
        executions.update(**BLANK[kind])
        if kind == Kind.CODE:
            delete_rows(InputFile.objects.filter(execution__in=ids))
        return
    if kind == Kind.ARTIFACTS:
        delete_rows(Artifact.objects.filter(execution__in=ids))
        return
    _take_away_with_all_that_hangs_on_it(Execution, "pk__in", ids)


def _take_away_with_all_that_hangs_on_it(model: type[Model], lookup: str, ids: list[UUID]) -> None:
    for relation in model._meta.related_objects:
        _take_away_with_all_that_hangs_on_it(relation.related_model, f"{relation.field.name}__{lookup}", ids)
    delete_rows(model._base_manager.filter(**{lookup: ids}))


def delete_rows(rows: QuerySet[Any]) -> None:
    """As they are: Django would look for what PROTECT forbids, and load the rows."""
    rows._raw_delete(rows.db)
