"""Whether the newest seal is as new as it should be."""

from collections.abc import Iterator
from datetime import datetime

from django.utils import timezone

from audit.models import Seal
from audit.verification.findings import LATE, Finding
from executions.models import Execution


def check_tail(last: Seal | None) -> Iterator[Finding]:
    """Yield a finding if a seal is overdue. Without any, the first is due after the end of an execution."""
    since = last.created_at if last else _oldest_end()
    if since and since + LATE < timezone.now():
        number = str(last.sequence + 1 if last else 1)
        problem = f"the tail may be cut off: a seal was expected by {since + LATE:%Y-%m-%d %H:%M:%S}"
        yield Finding("audit_seal", number, problem)


def _oldest_end() -> datetime | None:
    ended = (
        Execution.objects.filter(finished_at__isnull=False).order_by("id").values_list("finished_at", flat=True)
    )
    return ended.first()
