"""A row for each list of the admin that nothing else fills, and the addresses of every list and row.

Runs inside the platform's own settings: `manage.py shell -c "from tests.browser import rows; rows.main()"`.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module

from axes.models import AccessAttempt
from django.conf import settings
from django.contrib import admin
from django.core.management import call_command
from django.db import connection, transaction
from django.urls import reverse
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import Failure, OrmQ
from django_q.signing import SignedPackage

from alerts.models import Alert, AlertState, Channel, ChannelKind, Notification, Rule, Severity, Silence
from audit.models import PurgeRecord, RetentionPolicy, Seal, TrailEntry, Verification
from builds.models import BuildKind, BuildState, RuntimeBuild
from executions.callbacks.models import Delivery
from executions.egress.models import EgressRule
from executions.models import Execution
from inspections.models import Inspection, InspectionKind, InspectionState
from redaction.models import RedactionPattern
from runtimes.models import Runtime
from usage.models import Price


@contextmanager
def no_triggers() -> Iterator[None]:
    """For a record of a purge that never was: if the seals knew it, each verification would miss what it names."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        yield


def fill() -> None:
    """Write rows as they are after their end: nothing in the platform works on them."""
    now = timezone.now()
    runtime = Runtime.objects.get(slug="python")
    execution = Execution.objects.latest("id")
    rule = Rule.objects.order_by("pk")[0]
    if not Seal.objects.exists():
        call_command("seal")
    sequence = Seal.objects.latest("sequence").sequence
    Verification.objects.create(
        first=sequence, last=sequence, requested_by="admin", requested_at=now, progress_at=now,
        state="failed", ended_at=now, error="worker lost",
    )  # fmt: skip
    with no_triggers():
        PurgeRecord.objects.create(
            kind="output", policy="policy of all other clients", keep_days=1, cutoff=now - timedelta(days=1), count=1,
            first_id=execution.pk, last_id=execution.pk, ids=[execution.pk], created_at=now,
        )  # fmt: skip
    Alert.objects.create(
        rule=rule, rule_name=rule.name, condition=rule.condition, severity=Severity.WARNING, subject="python",
        value=3, detail="3 in one hour", state=AlertState.RESOLVED, since=now, fired_at=now, resolved_at=now,
    )  # fmt: skip
    channel = Channel.objects.create(
        name="walk", kind=ChannelKind.MAIL, recipients=["ops@example.com"], enabled=False
    )
    Notification.objects.create(channel_name=channel.name, created_at=now, status="given_up", finished_at=now)
    Silence.objects.create(rule=rule, until=now + timedelta(hours=1), reason="a walk", created_by="admin")
    Delivery.objects.create(execution=execution, status="given_up", finished_at=now)
    EgressRule.objects.create(domain="walk.example.com")
    RedactionPattern.objects.create(name="walk", regex="walk-[0-9]{12}")
    RetentionPolicy.objects.get_or_create(client=None)
    Price.objects.create(from_day=now.date(), currency="EUR")
    RuntimeBuild.objects.create(
        runtime=runtime, number=9000, kind=BuildKind.PACKAGES, base=runtime.image, state=BuildState.FAILED,
        error="No such package.", finished_at=now, requested_by="admin",
    )  # fmt: skip
    Inspection.objects.create(
        kind=InspectionKind.LEARN, runtime=runtime, state=InspectionState.FAILED, finished_at=now
    )
    Failure.objects.create(
        id="0" * 32,
        name="walk",
        func="audit.tasks.verify",
        started=now,
        stopped=now,
        success=False,
        result="KeyError: 7",
    )
    task = {"id": "1" * 32, "name": "walk", "func": "audit.tasks.verify", "args": (), "kwargs": {}, "started": now}
    # Locked, so no worker takes it.
    OrmQ.objects.create(key=Conf.PREFIX, payload=SignedPackage.dumps(task), lock=now + timedelta(days=1))
    AccessAttempt.objects.create(
        username="nobody", ip_address="127.0.0.1", user_agent="walk", http_accept="*/*", path_info="/admin/login/",
        get_data="", post_data="", failures_since_start=1,
    )  # fmt: skip


def empty() -> None:
    """Remove what would be in the way of other tests of the same platform."""
    for rows in (
        Channel.objects.filter(name="walk"), Silence.objects.filter(reason="a walk"),
        OrmQ.objects.filter(lock__gt=timezone.now()),
        EgressRule.objects.filter(domain="walk.example.com"), RedactionPattern.objects.filter(name="walk"),
        Price.objects.all(), RuntimeBuild.objects.filter(number=9000), Failure.objects.filter(name="walk"),
        AccessAttempt.objects.filter(username="nobody"), Delivery.objects.all(),
    ):  # fmt: skip
        rows.delete()
    with no_triggers():
        PurgeRecord.objects.all().delete()


def addresses() -> tuple[list[str], list[str]]:
    """Return the lists and newest rows of every table of the admin, and the names of those without a row."""
    import_module(settings.ROOT_URLCONF)  # registers the rest
    found, empty = [], []
    for page in list(admin.site._registry.values()):
        options = page.model._meta
        name = f"admin:{options.app_label}_{options.model_name}"
        found.append(reverse(f"{name}_changelist"))
        row = page.model._default_manager.order_by("-pk").values_list("pk", flat=True).first()
        if row is None and page.model is TrailEntry:
            continue  # merged from many tables: the test follows the link of the list
        if row is None:
            empty.append(options.label)
        else:
            found.append(reverse(f"{name}_change", args=[row]))
    return found, empty


def main() -> None:
    fill()
    print(json.dumps(addresses()))
