from django.db import models
from django.db.models import Q

from runtimes.models import Network, Runtime


class SandboxState(models.TextChoices):
    STARTING = "starting", "Starting"
    READY = "ready", "Ready"  # booted, its runner blocks on stdin
    CLAIMED = "claimed", "Claimed"  # belongs to one execution
    USED = "used", "Used"  # to be removed; nothing runs in it any more


class Sandbox(models.Model):
    """A container of this platform, from before its start until after its removal.

    The pool belongs to these rows, not to a process: any worker of the node claims a ready one, and after a
    crash the keeper compares them with what Docker really has.
    """

    container_id = models.CharField(max_length=64, blank=True)
    node = models.CharField(max_length=100)
    runtime = models.ForeignKey(Runtime, on_delete=models.CASCADE, related_name="sandboxes")
    # What it was started under. A claim asks for the current revision, so no run starts under an old one.
    runtime_revision = models.PositiveIntegerField()
    profile_sha256 = models.CharField(max_length=64)
    profile_name = models.CharField(max_length=50, blank=True)
    profile_revision = models.PositiveIntegerField(null=True, blank=True)
    # Egress: it was started with a door. No run without egress gets it, and no run with egress another.
    network = models.CharField(max_length=6, choices=Network.choices, default=Network.NONE)
    image_id = models.CharField(max_length=80, blank=True)
    runsc_version = models.CharField(max_length=100, blank=True)
    state = models.CharField(max_length=8, choices=SandboxState.choices, default=SandboxState.STARTING)
    # No foreign key: executions are history and outlive every sandbox.
    execution_id = models.UUIDField(null=True, blank=True)
    # What it holds, as its node's keeper last saw it; not written for a difference that nobody would notice.
    memory_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    ready_at = models.DateTimeField(null=True, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "executions_sandbox"
        ordering = ["id"]
        verbose_name_plural = "sandboxes"
        permissions = [("drain_sandbox", "Can drain the pool and kill sandboxes")]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=SandboxState.values), name="sandbox_state_is_known"),
            models.CheckConstraint(
                condition=~Q(state=SandboxState.CLAIMED) | Q(execution_id__isnull=False),
                name="sandbox_claimed_has_execution",
            ),
            # One execution, one sandbox.
            models.UniqueConstraint(fields=["execution_id"], name="sandbox_execution_once"),
        ]
        indexes = [
            # Every run's claim, which takes the oldest ready one.
            models.Index(fields=["node", "runtime", "id"], condition=Q(state="ready"), name="sandbox_claim_idx"),
        ]

    def __str__(self) -> str:
        return self.container_id[:12] or f"#{self.pk}"
