"""Conditions of alerts about the quotas of clients."""

from collections.abc import Iterator
from datetime import UTC

from django.db import connection
from django.utils import timezone

from clients.models import Client, ClientUsage
from sandbox_platform.kit.conditions import Condition, Finding, Parameter, ShippedRule, Values, declare
from sandbox_platform.kit.units import format_bytes

STORED = """
    SELECT client_id, sum(bytes)::bigint FROM (
        SELECT client_id, bytes FROM executions_clientstorage
        UNION ALL SELECT client_id, bytes FROM executions_storagechange
    ) all_bytes GROUP BY client_id
"""
SHARE = Parameter("share", "Used share of the quota, in percent", 90, 1, 100, "%")


def runs_used(values: Values) -> Iterator[Finding]:
    today = timezone.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    usages = ClientUsage.objects.filter(
        day__gte=today, client__enabled=True, client__max_runs_per_day__isnull=False
    ).select_related("client")
    for usage in usages:
        used, quota = usage.day_used, usage.client.max_runs_per_day or 1
        if 100 * used >= values["share"] * quota:
            detail = f"{used:,} of {quota:,} runs today, until midnight UTC."
            if used >= quota:
                detail += " Further ones are refused with 429."
            yield Finding(f"client {usage.client}", _percent(used, quota), detail, _link(usage.client))


def storage_used(values: Values) -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute(STORED)
        stored = dict(cursor.fetchall())
    for client in Client.objects.filter(pk__in=stored, enabled=True):
        used, quota = stored[client.pk], client.stored_limit
        if quota and 100 * used >= values["share"] * quota:
            detail = f"The history holds {format_bytes(used)} of {format_bytes(quota)}."
            if used >= quota:
                detail += " Further runs are refused with 429 until something is purged."
            yield Finding(f"client {client}", _percent(used, quota), detail, _link(client))


def _percent(used: int, quota: int) -> float:
    return round(100 * used / quota, 1)


def _link(client: Client) -> str:
    return f"/admin/clients/client/{client.pk}/change/"


declare(
    Condition(
        "quota_runs",
        "Daily quota used up",
        "A client has used this share of its runs of the day, from midnight UTC.",
        runs_used,
        (SHARE,),
        unit="%",
        shipped=(ShippedRule("quota_runs", "Daily quota nearly used up"),),
    )
)
declare(
    Condition(
        "quota_storage",
        "Storage quota used up",
        "The history of a client holds this share of what it may.",
        storage_used,
        (SHARE,),
        unit="%",
        shipped=(ShippedRule("quota_storage", "Storage quota nearly used up"),),
    )
)
