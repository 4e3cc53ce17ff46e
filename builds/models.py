"""Builds: attempts to give a runtime another image, with their logs."""

from typing import Any

from django.db import models
from django.db.models import Q

from runtimes.packages import no_packages, validate_packages


class BuildKind(models.TextChoices):
    PACKAGES = "packages", "Packages on top of the image"
    PULL = "pull", "The image itself, pulled and pinned"


class BuildState(models.TextChoices):
    QUEUED = "queued", "Queued"
    BUILDING = "building", "Building"
    PROBING = "probing", "Probing"
    LIVE = "live", "Live"
    READY = "ready", "Ready"  # proven, and not live
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


WORKING = (BuildState.BUILDING, BuildState.PROBING)
UNFINISHED = (BuildState.QUEUED, *WORKING)
USABLE = (BuildState.LIVE, BuildState.READY)


class BuildQuerySet(models.QuerySet["RuntimeBuild"]):
    def unfinished(self) -> "BuildQuerySet":
        return self.filter(state__in=UNFINISHED)

    def working(self) -> "BuildQuerySet":
        return self.filter(state__in=WORKING)

    def live_of(self, runtime: Any) -> "RuntimeBuild | None":
        return self.filter(runtime=runtime, state=BuildState.LIVE).defer("log").first()

    def demote_live(self, runtime: Any) -> None:
        """Set the runtime's live build to ready, so that it can be activated again."""
        self.filter(runtime=runtime, state=BuildState.LIVE).update(state=BuildState.READY)


class RuntimeBuild(models.Model):
    runtime = models.ForeignKey("runtimes.Runtime", on_delete=models.CASCADE, related_name="builds")
    number = models.PositiveIntegerField()
    kind = models.CharField(max_length=8, choices=BuildKind.choices)
    packages = models.JSONField(default=no_packages, validators=[validate_packages])
    base = models.CharField(
        max_length=300, help_text="The runtime's image reference when the build was requested."
    )
    base_image_id = models.CharField(max_length=80, blank=True)
    image_id = models.CharField(
        max_length=80, blank=True, help_text="Empty until the image exists, and after it was removed."
    )
    digest = models.CharField(
        max_length=400, blank=True, help_text="Reference of the base image by registry digest."
    )
    node = models.CharField(max_length=100, blank=True)
    state = models.CharField(max_length=9, choices=BuildState.choices, default=BuildState.QUEUED)
    progress = models.CharField(max_length=100, blank=True, help_text="The current step.")
    log = models.TextField(blank=True)
    error = models.TextField(blank=True)
    requested_by = models.CharField(max_length=150, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    worker_backend = models.PositiveIntegerField(
        null=True, help_text="Postgres session of the worker; gone when the worker dies."
    )
    finished_at = models.DateTimeField(null=True, blank=True)
    live_at = models.DateTimeField(null=True, blank=True, help_text="When the build last went live.")

    objects = BuildQuerySet.as_manager()

    class Meta:
        db_table = "runtimes_runtimebuild"
        ordering = ["-id"]
        verbose_name = "build"
        constraints = [
            models.UniqueConstraint(fields=["runtime", "number"], name="build_number_once"),
            models.CheckConstraint(condition=Q(state__in=BuildState.values), name="build_state_is_known"),
            models.UniqueConstraint(
                fields=["runtime"], condition=Q(state__in=UNFINISHED), name="build_one_at_a_time"
            ),
            models.UniqueConstraint(fields=["runtime"], condition=Q(state="live"), name="build_one_live"),
            # A build occupies a worker and most of the machine.
            models.UniqueConstraint(fields=["node"], condition=Q(state__in=WORKING), name="build_one_per_node"),
        ]

    def __str__(self) -> str:
        return f"build {self.number} of {self.runtime}"
