from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.db.models import Q

from runtimes.models import MIB, Network, Runtime
from sandbox_platform.kit.formats import CHOICES
from seccomp_profiles.models import SeccompProfile
from seccomp_profiles.proof import known_bad


class Role(models.TextChoices):
    CALLER = "caller", "Caller: runs programs, sees its own executions"
    AUDITOR = "auditor", "Auditor: sees every execution, runs and changes nothing"
    ADMINISTRATOR = "administrator", "Administrator: runs, sees and changes everything"


class ClientManager(models.Manager["Client"]):
    def create_with_token(self, name: str, token: str = "", **fields: Any) -> tuple["Client", str]:
        """Create a client and return it with its token in clear text, which is not stored."""
        with transaction.atomic():
            client = self.create(name=name, **fields)
            return client, client.tokens.issue(client, token=token)[1]


def _cap(smallest: int, largest: int, help_text: str) -> "models.PositiveBigIntegerField[int | None, int | None]":
    """Return the field of a cap on a limit, with the same bounds as the runtimes' limit."""
    return models.PositiveBigIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(smallest), MaxValueValidator(largest)],
        help_text=f"{help_text} Empty: no cap.",
    )


def _allowance(help_text: str) -> "models.PositiveIntegerField[int | None, int | None]":
    return models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=f"{help_text} Further ones are refused with 429. Empty: unlimited.",
    )


class Client(models.Model):
    """A caller of the API: role, caps and quotas. Authenticates with any of its tokens."""

    name = models.CharField(
        max_length=100, unique=True, help_text="Name of the caller, e.g. of a RAGFlow deployment."
    )
    enabled = models.BooleanField(default=True, help_text="If disabled, calls are refused with 401.")
    role = models.CharField(max_length=13, choices=Role.choices, default=Role.CALLER)
    # Names instead of foreign keys: otherwise deleting the last allowed runtime would allow all of them.
    allowed_runtimes = ArrayField(
        models.SlugField(),
        default=list,
        blank=True,
        help_text="Runtimes that the client may use. Calls for others are refused with 403. Empty: all runtimes.",
    )
    formats = ArrayField(
        models.CharField(max_length=20, choices=CHOICES),
        default=list,
        db_default=[],
        blank=True,
        help_text="Wire formats of other sandboxes in which the client may call, beside the platform's own. Calls in "
        "others are refused with 403. A format changes no cap and no quota. See docs/doors.md.",
    )

    max_wall_time_ms = _cap(100, 3_600_000, "Milliseconds of wall time of a run.")
    max_cpu_time_ms = _cap(100, 3_600_000, "Milliseconds of CPU time of a run.")
    max_memory_bytes = _cap(64 * MIB, 2**50, "Bytes of memory of the whole sandbox.")
    max_output_bytes = _cap(1024, 64 * MIB, "How many bytes of stdout are kept, and how many of stderr.")
    max_result_bytes = _cap(1024, 64 * MIB, "Largest JSON that main() may return, in bytes.")
    max_artifact_count = _cap(0, 100, "Number of files kept from ./artifacts and the working directory.")
    max_artifact_bytes = _cap(
        0, 64 * MIB, "Largest file kept from ./artifacts and the working directory, in bytes."
    )

    max_runs_per_minute = _allowance("Executions accepted within any 60 seconds.")
    max_runs_per_day = _allowance("Executions accepted in a day, from midnight UTC.")
    max_open_executions = _allowance("Executions queued or running at the same time.")
    max_stored_bytes = models.PositiveBigIntegerField(
        null=True,
        blank=True,
        help_text="Bytes that the client's history may hold. Runs beyond are refused with 429. "
        "Empty: SANDBOX_CLIENT_STORAGE. 0: unlimited.",
    )

    seccomp_profile = models.ForeignKey(
        SeccompProfile,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="clients",
        help_text="Seccomp filter of this client's runs, instead of the runtime's. Warm sandboxes have the "
        "runtime's profile, so each of these runs is a cold start. Empty: the runtime's profile.",
    )

    network = models.CharField(
        max_length=6,
        choices=Network.choices,
        default=Network.NONE,
        help_text="Egress: programs may call hosts on the allow-list, if the runtime also has egress.",
    )

    created_at = models.DateTimeField(auto_now_add=True)
    # The secret of callbacks is derived from this (see callbacks.signing), so that none is stored.
    callback_secret_version = models.PositiveIntegerField(default=1, editable=False)
    callback_secret_rotated_at = models.DateTimeField(null=True, editable=False)

    objects = ClientManager()

    class Meta:
        db_table = "executions_client"
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=Q(role__in=Role.values), name="client_role_is_known"),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        chosen = self.seccomp_profile
        if chosen is None or Client.objects.filter(pk=self.pk, seccomp_profile=chosen).exists():
            return
        runtimes = [runtime for runtime in Runtime.objects.enabled() if self.may_use(runtime)]
        if problem := known_bad(chosen, runtimes):
            raise ValidationError({"seccomp_profile": f"Profile not usable: {problem}."})

    @property
    def actor_name(self) -> str:
        return f"client {self.name}"

    # Django REST framework reads this from `request.user`.
    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def may_run(self) -> bool:
        return self.role in (Role.CALLER, Role.ADMINISTRATOR)

    @property
    def may_administer(self) -> bool:
        return self.role == Role.ADMINISTRATOR

    @property
    def sees_everything(self) -> bool:
        return self.role in (Role.AUDITOR, Role.ADMINISTRATOR)

    def may_use(self, runtime: Runtime) -> bool:
        return not self.allowed_runtimes or runtime.slug in self.allowed_runtimes

    def may_speak(self, format_name: str) -> bool:
        return format_name in self.formats

    @property
    def stored_limit(self) -> int | None:
        """Return how many bytes the client's history may hold; None for any number."""
        own = self.max_stored_bytes
        return (settings.SANDBOX_CLIENT_STORAGE_BYTES if own is None else own) or None

    @property
    def is_metered(self) -> bool:
        """Whether the client has a quota on its number of runs."""
        return any((self.max_runs_per_minute, self.max_runs_per_day, self.max_open_executions))
