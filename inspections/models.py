from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import models
from django.db.models import Q

from seccomp_profiles.models import SeccompProfile, SeccompRevision


class InspectionKind(models.TextChoices):
    PROBE = "probe", "Probe: is the profile enforced, and does the runtime work"
    LEARN = "learn", "Learning: which system calls does a program make"
    REPLAY = "replay", "Dry run: which executions would end differently"
    TRACE = "trace", "Trace: which system call was refused"
    DESCRIBE = "describe", "Description: what does a program of the runtime see"


class InspectionState(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class InspectionVerdict(models.TextChoices):
    ENFORCED = "enforced", "Enforced"
    NOT_ENFORCED = "not_enforced", "Not enforced"
    BREAKS_RUNTIME = "breaks_runtime", "Breaks the runtime"
    ERROR = "error", "Inconclusive"


# Under such a profile a program would run without its filter, or not at all.
BAD = (InspectionVerdict.NOT_ENFORCED, InspectionVerdict.BREAKS_RUNTIME)
OPEN = (InspectionState.QUEUED, InspectionState.RUNNING)


class InspectionQuerySet(models.QuerySet["Inspection"]):
    def newest_probes(
        self, revisions: Iterable[SeccompRevision], runtimes: Iterable[Any]
    ) -> dict[tuple[int, int], "Inspection"]:
        """Return the newest finished probe of each pair, by (revision id, runtime id)."""
        found = self.filter(
            kind=InspectionKind.PROBE, state=InspectionState.DONE, revision__in=revisions, runtime__in=runtimes
        )
        # Sort by the columns: sorting by the relation would use the other model's ordering.
        newest = found.order_by("revision_id", "runtime_id", "-id").distinct("revision_id", "runtime_id")
        return {(probe.revision_id or 0, probe.runtime_id or 0): probe for probe in newest}

    def newest_trace(self, execution_id: UUID) -> "Inspection | None":
        return self.filter(kind=InspectionKind.TRACE, execution_id=execution_id).first()

    def descriptions(self) -> "InspectionQuerySet":
        return self.filter(kind=InspectionKind.DESCRIBE)

    def newest_descriptions(self) -> "InspectionQuerySet":
        """Return the newest finished description of each runtime."""
        done = self.descriptions().filter(state=InspectionState.DONE)
        return done.order_by("runtime_id", "-id").distinct("runtime_id")

    def newest_description(self, runtime: Any) -> "Inspection | None":
        return self.descriptions().filter(state=InspectionState.DONE, runtime=runtime).first()

    def known_bad(self, profile: SeccompProfile, runtimes: Iterable[Any]) -> str:
        """Return why the profile must not be given to these runtimes; "" if no probe says so."""
        probes = self.newest_probes([profile.current], runtimes).values()
        return "; ".join(
            f"the newest probe of {profile} on {probe.runtime} says: {probe.get_verdict_display().lower()}"
            for probe in probes
            if probe.verdict in BAD
        )


class Inspection(models.Model):
    """A check of a revision, a runtime or an execution in sandboxes of its own: the request and its result."""

    kind = models.CharField(max_length=8, choices=InspectionKind.choices)
    revision = models.ForeignKey(
        SeccompRevision, on_delete=models.CASCADE, null=True, blank=True, related_name="inspections"
    )
    runtime = models.ForeignKey(
        "runtimes.Runtime", on_delete=models.CASCADE, null=True, blank=True, related_name="inspections"
    )
    # No foreign key: an execution may be purged.
    execution_id = models.UUIDField(null=True, blank=True)
    state = models.CharField(max_length=9, choices=InspectionState.choices, default=InspectionState.QUEUED)
    verdict = models.CharField(max_length=14, choices=InspectionVerdict.choices, blank=True)
    details = models.JSONField(default=dict, blank=True)
    requested_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    # The environment in which the inspection ran.
    node = models.CharField(max_length=100, blank=True)
    runsc_version = models.CharField("gVisor version", max_length=100, blank=True)
    image_id = models.CharField(max_length=80, blank=True)
    runtime_revision = models.PositiveIntegerField(null=True, blank=True)

    objects = InspectionQuerySet.as_manager()

    class Meta:
        db_table = "seccomp_profiles_inspection"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=InspectionKind.values), name="inspection_kind_is_known"),
            models.CheckConstraint(
                condition=Q(state__in=InspectionState.values), name="inspection_state_is_known"
            ),
            models.CheckConstraint(
                condition=Q(verdict__in=["", *InspectionVerdict.values]), name="inspection_verdict_is_known"
            ),
            models.CheckConstraint(
                condition=Q(state__in=OPEN, finished_at__isnull=True)
                | ~Q(state__in=OPEN) & Q(finished_at__isnull=False),
                name="inspection_finished_iff_over",
            ),
        ]
        indexes = [
            # For the newest verdict on a revision, per runtime.
            models.Index(
                fields=["revision", "runtime", "-id"],
                condition=Q(kind="probe", state="done"),
                name="inspection_verdict_idx",
            ),
            models.Index(fields=["id"], condition=Q(state__in=OPEN), name="inspection_open_idx"),
            models.Index(
                fields=["execution_id"], condition=Q(execution_id__isnull=False), name="inspection_execution_idx"
            ),
        ]

    def __str__(self) -> str:
        name = self.get_kind_display().partition(":")[0]
        return f"{name} #{self.pk}"
