"""The doctor's checks as a background task, because the web process has no access to Docker."""

from dataclasses import asdict

from django.conf import settings
from django.utils import timezone

from console.models import DoctorReport
from sandbox_platform.doctor.run import run_all


def examine(asked_by: str) -> None:
    """Run all checks in a worker and store them as this node's DoctorReport."""
    node = settings.SANDBOX_NODE
    asked = {"asked_at": timezone.now(), "asked_by": asked_by, "finished_at": None}
    DoctorReport.objects.update_or_create(node=node, defaults=asked)
    checks = [asdict(check) for check in run_all()]
    DoctorReport.objects.filter(node=node).update(checks=checks, finished_at=timezone.now())
