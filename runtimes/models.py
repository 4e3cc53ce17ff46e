import shlex
from decimal import Decimal
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q

from runtimes.choices import CodePolicy as CodePolicy
from runtimes.choices import Network as Network
from runtimes.choices import OutputAction as OutputAction
from runtimes.choices import Runner as Runner
from runtimes.code_policy import RULES
from runtimes.limits import ADJUSTABLE as ADJUSTABLE
from runtimes.limits import MIB as MIB
from runtimes.limits import Limits as Limits
from runtimes.packages import validate_packages
from runtimes.signals import build_dropped
from runtimes.validators import (
    ALIAS,
    ALIAS_HINT,
    MODES,
    validate_command,
    validate_commands,
    validate_modes,
    validate_smoke,
)
from sandbox_platform.kit.notify import POOL, notify
from seccomp_profiles.models import SeccompProfile
from seccomp_profiles.proof import known_bad


def validate_string_map(value: Any) -> None:
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise ValidationError('Must be a JSON object of strings, like {"TZ": "UTC"}.')
    for name in value:
        if not name or "=" in name or "\0" in name:
            raise ValidationError(f"{name!r} is not a valid name for an environment variable.")


def validate_rules(value: list[str]) -> None:
    if unknown := sorted(set(value) - set(RULES)):
        raise ValidationError(f"Unknown rules: {', '.join(unknown)}. Known: {', '.join(sorted(RULES))}.")


class RuntimeQuerySet(models.QuerySet["Runtime"]):
    def enabled(self) -> "RuntimeQuerySet":
        return self.filter(enabled=True)

    def lean(self) -> "RuntimeQuerySet":
        """Defer the columns that no run needs: they hold some kilobytes."""
        return self.defer("smoke", "packages")

    def named(self, name: str) -> "RuntimeQuerySet":
        return self.filter(Q(slug=name) | Q(aliases__contains=[name]))


def both_modes() -> list[str]:
    return list(MODES)


class Runtime(models.Model):
    """A language as the platform offers it: the image, the commands, and the limits of a run."""

    slug = models.SlugField(unique=True, help_text="Name that callers use, e.g. python.")
    name = models.CharField(max_length=100, help_text="Display name, e.g. Python 3.13.")
    aliases = ArrayField(
        models.CharField(max_length=50, validators=[RegexValidator(ALIAS, ALIAS_HINT)]),
        default=list,
        blank=True,
        help_text="Other names that callers may use, comma-separated.",
    )
    enabled = models.BooleanField(
        default=True, help_text="If disabled, executions are rejected and no sandbox is kept warm."
    )
    image = models.CharField(
        max_length=300,
        help_text="Image reference on the node. A run never pulls the image.",
    )
    source_file = models.CharField(
        max_length=100,
        validators=[RegexValidator(r"^[A-Za-z0-9_.-]+$", "Must be a plain file name, e.g. main.py.")],
        help_text="File in /workspace to which the program is written.",
    )
    runner = models.CharField(
        max_length=9, choices=Runner.choices, default=Runner.NATIVE, help_text="How the program is started."
    )
    modes = ArrayField(
        models.CharField(max_length=8),
        default=both_modes,
        validators=[validate_modes],
        help_text="Modes that callers may use: script, function, or both, comma-separated.",
    )
    compile_command = models.CharField(
        max_length=1000,
        blank=True,
        validators=[validate_command],
        help_text="Optional. Runs before the program, e.g. gcc -o {program} {source}. Its output becomes the program's "
        "standard error; if it fails, the program is not run. Placeholders: {source}, the program's file; "
        "{folder}, the folder of that file; {name}, its name without the extension; {program}, a file in /tmp.",
    )
    run_command = models.CharField(
        max_length=1000,
        blank=True,
        validators=[validate_command],
        help_text="Starts the program, followed by the caller's arguments, e.g. ruby {source}.",
    )
    function_command = models.CharField(
        max_length=1000,
        blank=True,
        validators=[validate_command],
        help_text="Starts the program in mode function: calls main() and sends the returned value.",
    )
    packages = models.JSONField(
        default=dict,
        blank=True,
        validators=[validate_packages],
        help_text='Packages in the image, e.g. {"apt": ["jq"]}. To change them, add packages with a build.',
    )
    smoke = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_smoke],
        help_text="Programs that show that the runtime works, with their expected ends.",
    )
    preload = ArrayField(
        models.CharField(max_length=100),
        default=list,
        blank=True,
        help_text="Modules that are loaded before a sandbox becomes ready, comma-separated. "
        "Each adds its load time to every start of a sandbox.",
    )
    preload_when_idle = ArrayField(
        models.CharField(max_length=100),
        default=list,
        blank=True,
        help_text="Modules that a ready sandbox loads after it has been idle for a while, comma-separated. "
        "They cost memory in each idle sandbox, and nothing under load.",
    )
    environment = models.JSONField(
        default=dict,
        blank=True,
        validators=[validate_string_map],
        help_text='Environment variables of the program, e.g. {"MPLBACKEND": "Agg"}. '
        "Programs can read them: do not put secrets here.",
    )

    wall_time_ms = models.PositiveIntegerField(
        default=10_000,
        validators=[MinValueValidator(100), MaxValueValidator(3_600_000)],
        help_text="Milliseconds from the moment the sandbox gets the job. The host ends the run, not the guest.",
    )
    cpu_time_ms = models.PositiveIntegerField(
        default=10_000,
        validators=[MinValueValidator(100), MaxValueValidator(3_600_000)],
        help_text="Milliseconds of CPU time of the whole sandbox, summed over all processes.",
    )
    cpus = models.DecimalField(
        max_digits=5,
        decimal_places=2,
        default=Decimal("1"),
        validators=[MinValueValidator(Decimal("0.1")), MaxValueValidator(Decimal("64"))],
        help_text="Cores that a sandbox may use at a time.",
    )
    compile_wall_ms = models.PositiveIntegerField(
        default=30_000,
        validators=[MinValueValidator(100), MaxValueValidator(600_000)],
        help_text="Milliseconds of wall time of the compile command. The program's own limits apply after it.",
    )
    compile_cpu_ms = models.PositiveIntegerField(
        default=30_000,
        validators=[MinValueValidator(100), MaxValueValidator(600_000)],
        help_text="Milliseconds of CPU time of the compile command.",
    )
    memory_bytes = models.PositiveBigIntegerField(
        default=256 * MIB,
        validators=[MinValueValidator(64 * MIB)],
        help_text="Bytes of memory of the whole sandbox, including its files, which live in memory. "
        "A sandbox that exceeds it is killed.",
    )
    processes = models.PositiveIntegerField(
        default=128,
        validators=[MinValueValidator(16), MaxValueValidator(4096)],
        help_text="Processes and threads of the program. Node.js alone needs 11.",
    )
    open_files = models.PositiveIntegerField(
        default=1024, validators=[MinValueValidator(64)], help_text="Open files of each process."
    )
    workspace_bytes = models.PositiveBigIntegerField(
        default=100 * MIB, validators=[MinValueValidator(MIB)], help_text="Size of /workspace, in bytes."
    )
    tmp_bytes = models.PositiveBigIntegerField(
        default=50 * MIB, validators=[MinValueValidator(MIB)], help_text="Size of /tmp, in bytes."
    )
    output_bytes = models.PositiveIntegerField(
        default=4 * MIB,
        validators=[MinValueValidator(1024), MaxValueValidator(64 * MIB)],
        help_text="How many bytes of stdout are kept, and how many of stderr.",
    )
    output_action = models.CharField(
        max_length=4,
        choices=OutputAction.choices,
        default=OutputAction.CUT,
        help_text="What happens when a run writes more than the output limit.",
    )
    result_bytes = models.PositiveIntegerField(
        default=8 * MIB,
        validators=[MinValueValidator(1024), MaxValueValidator(64 * MIB)],
        help_text="Largest JSON that main() may return, in bytes.",
    )
    artifact_count = models.PositiveIntegerField(
        default=10,
        validators=[MaxValueValidator(100)],
        help_text="Number of files kept from ./artifacts and the working directory.",
    )
    artifact_bytes = models.PositiveIntegerField(
        default=10 * MIB,
        validators=[MaxValueValidator(64 * MIB)],
        help_text="Largest file kept from ./artifacts and the working directory, in bytes. Larger files are skipped.",
    )

    seccomp_profile = models.ForeignKey(
        SeccompProfile,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="runtimes",
        help_text="Seccomp filter inside the guest, in addition to gVisor. Empty: unconfined.",
    )
    network = models.CharField(
        max_length=6,
        choices=Network.choices,
        default=Network.NONE,
        help_text="Egress also requires a client with egress. The egress rules list the allowed hosts.",
    )
    code_policy = models.CharField(
        max_length=5,
        choices=CodePolicy.choices,
        default=CodePolicy.OFF,
        help_text="Code policy on the execution API. The rules are a lint: gVisor is the barrier.",
    )
    ragflow_code_policy = models.CharField(
        "Code policy on RAGFlow's endpoint",
        max_length=5,
        choices=CodePolicy.choices,
        default=CodePolicy.BLOCK,
        help_text="Code policy on POST /run. RAGFlow's own service blocks.",
    )
    disabled_rules = ArrayField(
        models.CharField(max_length=50),
        default=list,
        blank=True,
        validators=[validate_rules],
        help_text="Code rules that do not apply to this runtime, comma-separated, "
        "e.g. python.constant-operation, which refuses 60*60.",
    )

    pool_min = models.PositiveIntegerField(
        default=1, validators=[MaxValueValidator(200)], help_text="Number of warm sandboxes kept without demand."
    )
    pool_max = models.PositiveIntegerField(
        default=8,
        validators=[MaxValueValidator(200)],
        help_text="Largest number of warm sandboxes kept under demand.",
    )

    built_image = models.CharField(
        max_length=80, blank=True, editable=False, help_text="Content id of the live build's image."
    )
    built_on = models.CharField(max_length=300, blank=True, editable=False)
    manifest_sha256 = models.CharField(max_length=64, blank=True, editable=False)
    revision = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = RuntimeQuerySet.as_manager()

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(condition=Q(pool_min__lte=F("pool_max")), name="runtime_pool_min_le_max"),
        ]

    def __str__(self) -> str:
        return self.slug

    def clean(self) -> None:
        names = {self.slug, *self.aliases}
        for other in Runtime.objects.exclude(pk=self.pk):
            if taken := names & {other.slug, *other.aliases}:
                raise ValidationError(
                    {"aliases": f"{', '.join(sorted(taken))} already names the runtime {other.slug}."}
                )
        # The field's pattern accepts these.
        if self.source_file in (".", "..") or self.source_file.endswith("\n"):
            raise ValidationError({"source_file": "Must be a plain file name, e.g. main.py."})
        validate_commands(self)
        if self.pool_min > self.pool_max:
            raise ValidationError({"pool_max": "Must not be below pool_min."})
        if self.workspace_bytes + self.tmp_bytes > self.memory_bytes:
            raise ValidationError(
                {"memory_bytes": "Must hold /workspace and /tmp together: their files are kept in memory."}
            )
        self._refuse_bad_profile()

    def _refuse_bad_profile(self) -> None:
        """Raise ValidationError for a newly chosen profile with a bad verdict.

        A profile that is already stored is not checked: a later verdict must not block changes of other fields.
        """
        chosen = self.seccomp_profile
        if chosen is None or Runtime.objects.filter(pk=self.pk, seccomp_profile=chosen).exists():
            return
        if problem := known_bad(chosen, [self] if self.pk else []):
            raise ValidationError({"seccomp_profile": f"Profile not usable: {problem}."})

    def save(self, *args: Any, **kwargs: Any) -> None:
        # An execution records the runtime's revision, so every change makes a new one.
        if self.pk and not kwargs.get("update_fields"):
            self.revision += 1
            if self.built_on and self.built_on != self.image:
                self.drop_build()
        super().save(*args, **kwargs)
        notify(POOL)  # keepers cache the runtimes until they are notified

    def drop_build(self) -> None:
        """Stop using the live build's image. The caller saves the row; the build can be activated again."""
        self.built_image = self.built_on = ""
        build_dropped.send(type(self), runtime=self)

    @property
    def commands(self) -> dict[str, list[str]] | None:
        """Return the commands for the runner, as lists of words; None for a native runner."""
        if self.runner == Runner.NATIVE:
            return None
        return {
            "compile": shlex.split(self.compile_command),
            "run": shlex.split(self.run_command),
            "function": shlex.split(self.function_command),
        }

    @property
    def live_image(self) -> str:
        """Return the image that runs get: the live build's, unless the image field has changed since that build."""
        return self.built_image if self.built_image and self.built_on == self.image else self.image

    @property
    def limits(self) -> Limits:
        fields = {name: getattr(self, name) for name in Limits.__dataclass_fields__}
        return Limits(**fields | {"cpus": float(self.cpus)})
