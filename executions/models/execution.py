import pgtrigger
import uuid_utils.compat
from django.contrib.postgres.indexes import BrinIndex, GinIndex
from django.db import models
from django.db.models import Count, F, OrderBy, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from clients.models.client import Client
from executions.models.lookup import SORT_KEYS, last_digits, search_vector
from runtimes.models import Network, Runtime
from sandbox_platform.kit import request_ids, tracing
from sandbox_platform.kit.notify import CALLBACK, FINISHED, POOL, PROGRESS, USED
from sandboxes.models import EngineName


class Status(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"  # by the program itself
    TIMED_OUT = "timed_out", "Timed out"
    OUT_OF_MEMORY = "out_of_memory", "Out of memory"
    OUTPUT_LIMIT = "output_limit", "Output limit exceeded"
    REJECTED = "rejected", "Rejected"  # never ran, because of the request
    CANCELLED = "cancelled", "Cancelled"
    PLATFORM_ERROR = "platform_error", "Platform error"  # a fault of the platform


# Columns of up to megabytes each: read for one execution, never for a list.
LARGE = ("code", "arguments", "stdin", "argv", "stdout", "stderr", "result", "policy_violations", "environment")
OPEN = (Status.QUEUED, Status.RUNNING)
# Endpoint of the platform's own test runs (inspections/separation.py): no figure or usage counts them.
SELF_TEST = "self-test"
# Label of the runs that people make by hand in RAGFlow's format, which has no labels: curl, the smoke test of `make`.
CALLED_BY = "caller"
IDEMPOTENCY_CONSTRAINT = "execution_idempotency_once"
TERMINAL = tuple(status for status in Status if status not in OPEN)
CALL_BACK = f"""
    INSERT INTO executions_delivery
        (execution_id, status, attempt_count, next_attempt_at, last_error, created_at)
    VALUES (NEW.id, 'pending', 0, now(), '', now())
    ON CONFLICT DO NOTHING;
    PERFORM pg_notify('{CALLBACK}', '');
    RETURN NULL;
"""  # noqa: S608


class Outcome(models.TextChoices):
    """Why an execution has its final status."""

    COMPLETED = "completed", "Completed"
    NONZERO_EXIT = "nonzero_exit", "Non-zero exit"
    COMPILE_FAILED = "compile_failed", "Compilation failed"
    COMPILE_TIME = "compile_time", "Compilation time limit"
    SIGNALLED = "signalled", "Killed by a signal"
    RESULT_INVALID = "result_invalid", "Invalid result"
    WALL_TIME = "wall_time", "Wall time limit"
    CPU_TIME = "cpu_time", "CPU time limit"
    MEMORY = "memory", "Memory limit"
    STDOUT = "stdout", "Standard output limit"
    STDERR = "stderr", "Standard error limit"
    CODE_POLICY = "code_policy", "Rejected by the code policy"
    RUNTIME_DISABLED = "runtime_disabled", "Runtime disabled"
    CALLER_GONE = "caller_gone", "Caller disconnected"
    CANCEL_REQUESTED = "cancel_requested", "Cancelled on request"
    QUEUE_TIMEOUT = "queue_timeout", "Queue timeout"
    START_FAILED = "start_failed", "Sandbox start failed"
    SANDBOX_LOST = "sandbox_lost", "Sandbox lost"
    WORKER_LOST = "worker_lost", "Worker lost"
    INTERNAL = "internal", "Internal error"


class Mode(models.TextChoices):
    FUNCTION = "function", "Function: main() is called and returns JSON"
    SCRIPT = "script", "Script: the program runs from top to bottom"


# Between each two of them lies a phase.
PHASE_TIMES = ("queued_at", "claimed_at", "sandbox_at", "started_at", "ended_at", "finished_at")


class ExecutionQuerySet(models.QuerySet["Execution"]):
    def open(self) -> "ExecutionQuerySet":
        return self.filter(status__in=OPEN)

    def count_open(self, client: Client | None) -> int:
        return self.open().filter(client=client).count()

    def open_of_outer_client(self) -> Coalesce:
        """Return an expression for the number of open executions of the outer query's client.

        It is a subquery because a join would count through the whole history.
        """
        mine = self.open().filter(client=OuterRef("pk")).order_by()
        number = mine.values("client").annotate(number=Count("pk")).values("number")
        return Coalesce(Subquery(number), 0)

    def visible_to(self, client: Client | None) -> "ExecutionQuerySet":
        """Filter by what a caller may see. Callers without a token (None) see the executions without a client."""
        if client and client.sees_everything:
            return self.all()
        return self.filter(client=client)


class Execution(models.Model):
    """One run of one program: the request, the result, the times of each phase and the provenance."""

    id = models.UUIDField(primary_key=True, default=uuid_utils.compat.uuid7, editable=False)
    # PROTECT: history keeps naming its runtime and client, which are disabled, not deleted.
    client = models.ForeignKey(
        Client, on_delete=models.PROTECT, null=True, related_name="executions", db_index=False
    )
    runtime = models.ForeignKey(Runtime, on_delete=models.PROTECT, related_name="executions", db_index=False)
    endpoint = models.CharField(max_length=20, help_text="Endpoint that accepted the execution.")
    announce_start = models.BooleanField(
        default=True, help_text="Announce the start to watchers: the caller knows the id before the end."
    )
    mode = models.CharField(max_length=8, choices=Mode.choices)
    code = models.TextField()
    code_sha256 = models.CharField(max_length=64)
    # JSON as text: jsonb can hold neither NUL nor lone surrogates, and both occur in practice.
    arguments = models.TextField(default="{}")
    stdin = models.TextField(blank=True)
    argv = models.JSONField(default=list)
    source_file = models.CharField(max_length=255, blank=True, help_text="Path of the program in /workspace.")
    input_count = models.PositiveSmallIntegerField(
        default=0, help_text="Number of input files beside the program."
    )
    variables = models.JSONField(default=dict, help_text="Environment variables of the request.")
    labels = models.JSONField(default=dict, help_text="The caller's names and values, for finding executions.")

    # The request
    idempotency_key = models.CharField(max_length=255, null=True)
    request_sha256 = models.CharField(max_length=64, blank=True)
    request_id = models.CharField(
        max_length=request_ids.LONGEST,
        blank=True,
        default="",
        db_default="",
        help_text="X-Request-Id of the request.",
    )
    # For the spans of those who go on with it: worker, egress, callbacks.
    traceparent = models.CharField(max_length=tracing.LONGEST, blank=True, default="", db_default="")
    batch_id = models.UUIDField(null=True)
    rerun_of = models.UUIDField(null=True)
    pinned = models.BooleanField(
        default=False,
        help_text="Runs with the image, profile and limits recorded here, not with the runtime's own.",
    )

    status = models.CharField(max_length=14, choices=Status.choices, default=Status.QUEUED)
    outcome = models.CharField(max_length=20, choices=Outcome.choices, blank=True)
    message = models.TextField(blank=True, help_text="Explanation of the outcome for people.")
    policy_violations = models.JSONField(default=list)
    exit_code = models.IntegerField(null=True)
    signal = models.PositiveSmallIntegerField(null=True)
    # Decoded as UTF-8. Invalid bytes, and NUL (which Postgres text cannot hold), become U+FFFD.
    stdout = models.TextField(blank=True)
    stderr = models.TextField(blank=True)
    stdout_truncated = models.BooleanField(default=False)
    stderr_truncated = models.BooleanField(default=False)
    result = models.TextField(null=True, help_text="JSON text of what main() returned.")
    artifact_count = models.PositiveSmallIntegerField(default=0)
    callback_url = models.CharField(
        max_length=2000, blank=True, help_text="Receives a POST when the execution ends."
    )

    queued_at = models.DateTimeField()
    enqueued_at = models.DateTimeField(help_text="When the execution's task was last queued.")
    claimed_at = models.DateTimeField(null=True, help_text="When a worker claimed the execution.")
    sandbox_at = models.DateTimeField(null=True, help_text="When the execution got its sandbox.")
    started_at = models.DateTimeField(null=True, help_text="When the job was sent to the runner.")
    ended_at = models.DateTimeField(null=True, help_text="When the runner reported the end or was stopped.")
    finished_at = models.DateTimeField(null=True, help_text="When the result was stored.")
    cpu_ms = models.PositiveIntegerField(null=True, help_text="CPU time of the whole sandbox during the run.")
    peak_memory_bytes = models.PositiveBigIntegerField(null=True)
    warm = models.BooleanField(
        null=True, help_text="Whether the run got a warm sandbox, and an interpreter that had started before."
    )

    # Provenance
    image_id = models.CharField(max_length=80, blank=True)
    runtime_revision = models.PositiveIntegerField()
    profile_name = models.CharField(max_length=50, blank=True)
    profile_revision = models.PositiveIntegerField(null=True)
    profile_sha256 = models.CharField(max_length=64, blank=True)
    network = models.CharField(max_length=6, choices=Network.choices, default=Network.NONE)
    egress_rules = models.JSONField(default=list, help_text="The allow-list at the start of the run.")
    limits = models.JSONField()
    environment = models.JSONField(default=dict)
    artifact_suffixes = models.JSONField(null=True, help_text="Endings of the artifacts to keep; null keeps all.")
    runsc_version = models.CharField(max_length=100, blank=True)
    engine = models.CharField(max_length=10, choices=EngineName.choices, blank=True, default="", db_default="")
    node = models.CharField(max_length=100, blank=True)
    sandbox_id = models.CharField(max_length=64, blank=True)
    remote_address = models.GenericIPAddressField(null=True)

    # PID of the worker's Postgres backend. When that session is gone, the worker is dead; see reaper.py.
    worker_backend = models.PositiveIntegerField(null=True)
    # Key of the worker's cluster, whose lock outlives a restart of Postgres; see liveness.py.
    worker_cluster = models.PositiveIntegerField(null=True)
    # How often the execution was queued again after a fault of the platform. It tells one attempt from the next.
    requeues = models.PositiveSmallIntegerField(default=0, db_default=0)
    started = models.BooleanField(null=True, help_text="Whether the program may have started. Set at the end.")
    cancel_requested_at = models.DateTimeField(null=True)
    cancel_outcome = models.CharField(max_length=20, choices=Outcome.choices, blank=True)

    objects = ExecutionQuerySet.as_manager()

    class Meta:
        ordering = ["-queued_at"]
        permissions = [
            ("run_execution", "Can run programs in the playground, and executions again"),
            ("cancel_execution", "Can cancel executions"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=Status.values), name="execution_status_is_known"),
            models.CheckConstraint(
                condition=Q(status__in=OPEN, finished_at__isnull=True, outcome="")
                | Q(status__in=TERMINAL, finished_at__isnull=False) & ~Q(outcome=""),
                name="execution_finished_iff_terminal",
            ),
            models.UniqueConstraint(
                fields=["client", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                nulls_distinct=False,  # callers without a token are one client
                name=IDEMPOTENCY_CONSTRAINT,
            ),
        ]
        indexes = [
            models.Index(fields=["-queued_at"], name="execution_recent_idx"),
            # For the keeper's search for lost executions; nearly all rows are final.
            models.Index(fields=["status", "node"], condition=Q(status__in=OPEN), name="execution_open_idx"),
            # For a client's quota of open executions, at a cost independent of other clients' queues.
            models.Index(fields=["client"], condition=Q(status__in=OPEN), name="execution_client_open_idx"),
            # For a client's history; ids are ordered by time. A list with two of these filters counts its rows in the
            # index: the other columns are in it. Ascending: new ids would split the pages of a descending one in half.
            models.Index(fields=["client", "id"], include=["runtime", "status"], name="execution_of_client_idx"),
            models.Index(fields=["runtime", "id"], include=["client", "status"], name="execution_of_runtime_idx"),
            # Finds rare statuses and outcomes without reading the common ones.
            models.Index(
                fields=["status", "id"],
                include=["client", "runtime"],
                condition=~Q(status__in=[*OPEN, Status.SUCCEEDED]),
                name="execution_of_status_idx",
            ),
            models.Index(
                fields=["outcome", "id"],
                include=["client", "runtime"],
                condition=~Q(outcome__in=["", Outcome.COMPLETED]),
                name="execution_of_outcome_idx",
            ),
            *(
                models.Index(OrderBy(key, descending=True), F("id").desc(), name=f"execution_by_{name}")
                for name, key in SORT_KEYS.items()
            ),
            # Finds cold starts without reading the warm ones.
            models.Index(fields=["-id"], condition=Q(warm=False), name="execution_cold_idx"),
            # Tells which parts of the history have no run of an engine, in a few kilobytes.
            BrinIndex(fields=["engine"], autosummarize=True, name="execution_engine_idx"),
            # Tells whether a rerun may still need an image.
            models.Index(fields=["image_id"], condition=~Q(image_id=""), name="execution_image_idx"),
            models.Index(fields=["request_id"], condition=~Q(request_id=""), name="execution_request_idx"),
            models.Index(fields=["batch_id"], condition=Q(batch_id__isnull=False), name="execution_batch_idx"),
            models.Index(fields=["rerun_of"], condition=Q(rerun_of__isnull=False), name="execution_rerun_idx"),
            # Finds an execution by the short id that lists show.
            models.Index(last_digits(), name="execution_short_id_idx"),
            # Partial indexes: an execution without labels costs nothing in the first, and the search index gets an
            # execution once, at its end.
            GinIndex(
                fields=["labels"],
                opclasses=["jsonb_path_ops"],
                condition=~Q(labels={}),
                name="execution_labels_idx",
            ),
            GinIndex(search_vector(), condition=Q(status__in=TERMINAL), name="execution_search_idx"),
        ]
        triggers = [
            # The guards that keep final rows from changing are in audit/migrations/guards.sql.
            # Announcing in a trigger saves a round trip per answer, and also covers an end by plain SQL.
            pgtrigger.Trigger(
                name="end_is_announced",
                operation=pgtrigger.Update,
                when=pgtrigger.After,
                condition=pgtrigger.Q(old__status__in=OPEN, new__status__in=TERMINAL),
                func=f"""
                    UPDATE executions_sandbox SET state = 'used' WHERE execution_id = NEW.id;
                    PERFORM pg_notify('{FINISHED}', NEW.id::text);
                    PERFORM pg_notify('{POOL}', '{USED}');
                    RETURN NULL;
                """,  # noqa: S608
            ),
            pgtrigger.Trigger(
                name="start_is_announced",
                operation=pgtrigger.Update,
                when=pgtrigger.After,
                condition=pgtrigger.Q(
                    old__status=Status.QUEUED, new__status=Status.RUNNING, new__announce_start=True
                ),
                func=f"PERFORM pg_notify('{PROGRESS}', NEW.id::text); RETURN NULL;",
            ),
            # Inserts the delivery in the transaction that ends the execution, whatever ends it.
            pgtrigger.Trigger(
                name="end_calls_back",
                operation=pgtrigger.Update,
                when=pgtrigger.After,
                condition=pgtrigger.Q(old__status__in=OPEN, new__status__in=TERMINAL)
                & ~pgtrigger.Q(new__callback_url=""),
                func=CALL_BACK,
            ),
            pgtrigger.Trigger(
                name="rejection_calls_back",
                operation=pgtrigger.Insert,
                when=pgtrigger.After,
                condition=pgtrigger.Q(new__status__in=TERMINAL) & ~pgtrigger.Q(new__callback_url=""),
                func=CALL_BACK,
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def is_finished(self) -> bool:
        return self.status in TERMINAL

    @property
    def behalf(self) -> str:
        """Return whose execution it is, for the trail: its client, and who ran it in the console."""
        client = f"client {self.client}" if self.client else ""
        return f"user {self.labels.get('user')}" if self.endpoint == "console" else client

    @property
    def may_have_started(self) -> bool | None:
        """Whether the program may have started; None while it is not decided."""
        if self.status == Status.RUNNING:
            return None
        if self.started is None:  # queued, or ended before the column existed
            return self.started_at is not None or self.outcome in (Outcome.WORKER_LOST, Outcome.INTERNAL)
        return self.started

    def phases_ms(self) -> dict[str, float]:
        """Return the milliseconds of each completed phase: queue, claim, attach, run, store."""
        times = [getattr(self, name) for name in PHASE_TIMES]
        spans = zip(("queue", "claim", "attach", "run", "store"), times, times[1:], strict=False)
        return {name: (end - begin).total_seconds() * 1000 for name, begin, end in spans if begin and end}

    @property
    def run_ms(self) -> float | None:
        if not (self.started_at and self.ended_at):
            return None
        return (self.ended_at - self.started_at).total_seconds() * 1000


class InputFile(models.Model):
    """A file of the request, written into /workspace beside the program."""

    execution = models.ForeignKey(Execution, on_delete=models.PROTECT, related_name="input_files")
    path = models.CharField(max_length=255)
    content = models.BinaryField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["execution", "path"], name="input_file_path_once"),
        ]

    def __str__(self) -> str:
        return self.path


class Artifact(models.Model):
    """A file that the program left in ./artifacts."""

    execution = models.ForeignKey(Execution, on_delete=models.PROTECT, related_name="artifacts")
    name = models.CharField(max_length=255)
    content = models.BinaryField()
    size = models.PositiveIntegerField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["execution", "name"], name="artifact_name_once"),
        ]

    def __str__(self) -> str:
        return self.name
