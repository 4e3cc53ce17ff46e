"""Conditions of alerts about logins and scheduled jobs."""

from collections.abc import Iterator
from datetime import timedelta

from axes.models import AccessAttempt
from django.db.models import Count, Sum
from django.utils import timezone

from console.models import JobRun
from sandbox_platform.kit.conditions import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    Condition,
    Finding,
    Parameter,
    ShippedRule,
    Values,
    declare,
)
from sandbox_platform.kit.units import format_ms

ATTEMPTS = "/admin/axes/accessattempt/"


def failed_logins(values: Values) -> Iterator[Finding]:
    """Yield each address with many wrong passwords. No user name: people type their password there by mistake."""
    since = timezone.now() - timedelta(milliseconds=values["window_ms"])
    attempts = AccessAttempt.objects.filter(attempt_time__gte=since)
    rows = attempts.values_list("ip_address").annotate(
        number=Sum("failures_since_start"), names=Count("username", distinct=True)
    )
    for address, number, names in rows.order_by():
        if number >= values["number"]:
            users = f"{names} user name{'' if names == 1 else 's'}"
            detail = f"{number:,} wrong passwords for {users}, the last within {format_ms(values['window_ms'])}."
            yield Finding(f"address {address or 'unknown'}", number, detail, ATTEMPTS)


def job_failed(values: Values) -> Iterator[Finding]:
    since = timezone.now() - timedelta(days=1)
    for run in JobRun.objects.exclude(error="").filter(started_at__gte=since).order_by("job", "node"):
        detail = f"The last run failed with {run.error}; it is repeated. The log of the process has the reason."
        yield Finding(f"job “{run.job}” on node {run.node}", 1, detail, "/admin/schedule/")


declare(
    Condition(
        "failed_logins",
        "Failed logins",
        "Wrong passwords from one address, since its last successful login.",
        failed_logins,
        (
            Parameter("number", "At least this many", 10, 1, 100_000),
            Parameter("window_ms", "The last of them within", HOUR_MS, MINUTE_MS, 7 * DAY_MS, "ms"),
        ),
        unit="wrong passwords",
        shipped=(ShippedRule("failed_logins", "Failed logins"),),
    )
)
declare(
    Condition(
        "job_failed",
        "Scheduled job fails",
        "The last run of a scheduled job on a node failed.",
        job_failed,
        shipped=(ShippedRule("job_failed", "Scheduled job fails", pending_ms=10 * MINUTE_MS),),
    )
)
