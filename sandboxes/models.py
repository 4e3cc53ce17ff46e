from django.db import models
from django.db.models import Q

from runtimes.models import Network, Runtime
from sandbox_platform.kit import tracing


class SandboxState(models.TextChoices):
    STARTING = "starting", "Starting"
    READY = "ready", "Ready"  # booted, and its runner waits for a job on stdin
    CLAIMED = "claimed", "Claimed"  # belongs to one execution
    USED = "used", "Used"  # to be removed by the keeper


class EngineName(models.TextChoices):
    DOCKER = "docker", "Docker"
    DIRECT = "direct", "Direct"


class Sandbox(models.Model):
    """A sandbox, from before its container is created until after the container is removed.

    These rows are the pool, and no process owns it: any worker of the node can claim a ready sandbox, and after a
    crash the keeper reconciles the rows with the engine's containers.
    """

    container_id = models.CharField(max_length=64, blank=True)
    node = models.CharField(max_length=100)
    runtime = models.ForeignKey(Runtime, on_delete=models.CASCADE, related_name="sandboxes")
    # The configuration it was started with. A claim asks for the current revision, so no run gets an old one.
    runtime_revision = models.PositiveIntegerField()
    profile_sha256 = models.CharField("SHA-256 of the profile", max_length=64)
    profile_name = models.CharField("seccomp profile", max_length=50, blank=True)
    profile_revision = models.PositiveIntegerField(null=True, blank=True)
    # "egress" if the sandbox was started with a door. Only runs with egress claim such sandboxes, and no others.
    network = models.CharField(max_length=6, choices=Network.choices, default=Network.NONE)
    image_id = models.CharField(max_length=80, blank=True)
    runsc_version = models.CharField("gVisor version", max_length=100, blank=True)
    # The database has the default, too: nodes of an earlier release go on inserting rows during an upgrade.
    engine = models.CharField(max_length=10, choices=EngineName.choices, blank=True, default="", db_default="")
    state = models.CharField(max_length=8, choices=SandboxState.choices, default=SandboxState.STARTING)
    # No foreign key: executions are history and outlive every sandbox.
    execution_id = models.UUIDField(null=True, blank=True)
    held = models.BooleanField(
        default=False, db_default=False, help_text="Started for a build, whose process decides on its use."
    )
    # The span of its start.
    traceparent = models.CharField(max_length=tracing.LONGEST, blank=True, default="", db_default="")
    # Memory at the keeper's last measurement; see measuring.py, which skips small changes.
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
            # An execution gets one sandbox.
            models.UniqueConstraint(fields=["execution_id"], name="sandbox_execution_once"),
        ]
        indexes = [
            # For claims, which take the oldest ready sandbox.
            models.Index(fields=["node", "runtime", "id"], condition=Q(state="ready"), name="sandbox_claim_idx"),
        ]

    def __str__(self) -> str:
        return self.container_id[:12] or f"#{self.pk}"

    @property
    def kind(self) -> tuple[int, str]:
        """Return its sandboxes.calls.SandboxKind."""
        return self.runtime_id, self.network


class Wait(models.Model):
    """A run that waits for a warm sandbox of its kind on its node; see turns.py."""

    # No foreign key: the run's execution is in a higher room.
    execution_id = models.UUIDField(primary_key=True)
    client_id = models.BigIntegerField(help_text="0: none.")
    node = models.CharField(max_length=100)
    runtime = models.ForeignKey(Runtime, on_delete=models.CASCADE, related_name="+", db_index=False)
    network = models.CharField(max_length=6, choices=Network.choices)
    # The worker repeats it. A row that is not renewed belongs to a dead worker.
    seen_at = models.DateTimeField()

    class Meta:
        default_permissions = ()


class Turn(models.Model):
    """When a client whose runs had to wait was last given a sandbox, on any node; see turns.py."""

    # No foreign key: 0 stands for no client. The row of a client that is gone has no effect.
    client_id = models.BigIntegerField(primary_key=True)
    served_at = models.DateTimeField()

    class Meta:
        default_permissions = ()


class Node(models.Model):
    """What the keeper of a node last said of it, for alerts and the console: only its own processes see its disk."""

    name = models.CharField(max_length=100, primary_key=True)
    seen_at = models.DateTimeField()
    # Of the fullest of the file systems that hold images, sandboxes and, in the stack, the database.
    disk_free_bytes = models.PositiveBigIntegerField(null=True)
    disk_total_bytes = models.PositiveBigIntegerField(null=True)
    gvisor_version = models.CharField(max_length=100, blank=True)
    # The database has these defaults, too: keepers of an earlier release go on inserting rows during an upgrade.
    version = models.CharField("platform version", max_length=40, blank=True, default="", db_default="")
    engine = models.CharField(max_length=10, choices=EngineName.choices, blank=True, default="", db_default="")
    workers = models.PositiveIntegerField(null=True, help_text="Executions that run there at the same time.")
    # A person's decision, not the keeper's word: its workers take nothing, and its keeper keeps no pool.
    draining = models.BooleanField(default=False, db_default=False)
    # Drained by its own end, as a pod is, and not by a person: it works again as soon as it is back.
    stopping = models.BooleanField(default=False, db_default=False)

    class Meta:
        default_permissions = ()
        permissions = [("drain_node", "Can drain nodes, take them back and remove those that are gone")]

    def __str__(self) -> str:
        return self.name
