import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
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

MIB = 1024**2


# What a caller may ask to be lower for one execution: the session and the job enforce it, not the container's
# flags (but for memory: see executions.tasks).
ADJUSTABLE = (
    "wall_time_ms",
    "cpu_time_ms",
    "memory_bytes",
    "output_bytes",
    "result_bytes",
    "artifact_count",
    "artifact_bytes",
)


@dataclass(frozen=True)
class Limits:
    """What one run may use. Times in milliseconds, sizes in bytes, cpus in cores."""

    wall_time_ms: int
    cpu_time_ms: int
    cpus: float
    memory_bytes: int
    processes: int
    open_files: int
    workspace_bytes: int
    tmp_bytes: int
    output_bytes: int
    output_action: str
    result_bytes: int
    artifact_count: int
    artifact_bytes: int
    # With a default: executions of before there was a compile step are described too.
    compile_wall_ms: int = 30_000
    compile_cpu_ms: int = 30_000

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def lowered_to(self, wanted: Mapping[str, Any]) -> "Limits":
        """With the adjustable ones among `wanted`, where those are lower."""
        lower = {name: min(getattr(self, name), wanted.get(name, math.inf)) for name in ADJUSTABLE}
        return replace(self, **lower)


def validate_string_map(value: Any) -> None:
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise ValidationError('Must be a JSON object of strings, like {"TZ": "UTC"}.')
    for name in value:
        if not name or "=" in name or "\0" in name:
            raise ValidationError(f"{name!r} is not a name of an environment variable.")


def validate_rules(value: list[str]) -> None:
    if unknown := sorted(set(value) - set(RULES)):
        raise ValidationError(f"Unknown rules: {', '.join(unknown)}. Known: {', '.join(sorted(RULES))}.")


class RuntimeQuerySet(models.QuerySet["Runtime"]):
    def enabled(self) -> "RuntimeQuerySet":
        return self.filter(enabled=True)

    def lean(self) -> "RuntimeQuerySet":
        """Without what no run needs, some kilobytes of it."""
        return self.defer("smoke", "packages")

    def named(self, name: str) -> "RuntimeQuerySet":
        return self.filter(Q(slug=name) | Q(aliases__contains=[name]))


def both_modes() -> list[str]:
    return list(MODES)


class Runtime(models.Model):
    """A language as the platform runs it: an image, how to start it, and what a run may use."""

    slug = models.SlugField(unique=True, help_text="The name callers use, e.g. python.")
    name = models.CharField(max_length=100, help_text="Shown to people, e.g. Python 3.13.")
    aliases = ArrayField(
        models.CharField(max_length=50, validators=[RegexValidator(ALIAS, ALIAS_HINT)]),
        default=list,
        blank=True,
        help_text="Other names callers may use, comma-separated.",
    )
    enabled = models.BooleanField(
        default=True, help_text="When off, callers are refused and no warm sandbox is kept."
    )
    image = models.CharField(
        max_length=300,
        help_text="Image reference on this node. It is never pulled on the way of a run.",
    )
    source_file = models.CharField(
        max_length=100,
        validators=[RegexValidator(r"^[A-Za-z0-9_.-]+$", "A plain file name, e.g. main.py.")],
        help_text="The file in /workspace that the program is written to.",
    )
    runner = models.CharField(
        max_length=9, choices=Runner.choices, default=Runner.NATIVE, help_text="What runs the program."
    )
    modes = ArrayField(
        models.CharField(max_length=8),
        default=both_modes,
        validators=[validate_modes],
        help_text="What callers may ask for: script, function, or both, comma-separated.",
    )
    compile_command = models.CharField(
        max_length=1000,
        blank=True,
        validators=[validate_command],
        help_text="Run before the program, if there is one, e.g. gcc -o {program} {source}. What it says is the "
        "program's standard error; if it fails, the program is not run. Known: {source}, the program's file; "
        "{folder}, where it lies; {name}, its name without the ending; {program}, a file in /tmp.",
    )
    run_command = models.CharField(
        max_length=1000,
        blank=True,
        validators=[validate_command],
        help_text="Becomes the program, with the caller's arguments after it, e.g. ruby {source}.",
    )
    function_command = models.CharField(
        max_length=1000,
        blank=True,
        validators=[validate_command],
        help_text="The same in mode function: it calls main() and sends what that returns.",
    )
    packages = models.JSONField(
        default=dict,
        blank=True,
        validators=[validate_packages],
        help_text='What is installed in the image, e.g. {"apt": ["jq"]}.',
    )
    smoke = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_smoke],
        help_text="Programs that show that the runtime works, and how they must end.",
    )
    preload = ArrayField(
        models.CharField(max_length=100),
        default=list,
        blank=True,
        help_text="Modules loaded before a sandbox counts as ready, comma-separated. "
        "Each costs its load time on every fresh sandbox.",
    )
    preload_when_idle = ArrayField(
        models.CharField(max_length=100),
        default=list,
        blank=True,
        help_text="Modules a ready sandbox loads once it has had nothing to do for a while, comma-separated. "
        "Costs memory for each idle sandbox, and nothing under load.",
    )
    environment = models.JSONField(
        default=dict,
        blank=True,
        validators=[validate_string_map],
        help_text='Environment variables of the program, e.g. {"MPLBACKEND": "Agg"}. '
        "Programs can read them: put no secret here.",
    )

    wall_time_ms = models.PositiveIntegerField(
        default=10_000,
        validators=[MinValueValidator(100), MaxValueValidator(3_600_000)],
        help_text="Milliseconds from handing over the job to its end. The host ends the run, not the guest.",
    )
    cpu_time_ms = models.PositiveIntegerField(
        default=10_000,
        validators=[MinValueValidator(100), MaxValueValidator(3_600_000)],
        help_text="Milliseconds of CPU the whole sandbox may use, all processes together.",
    )
    cpus = models.DecimalField(
        max_digits=5,
        decimal_places=2,
        default=Decimal("1"),
        validators=[MinValueValidator(Decimal("0.1")), MaxValueValidator(Decimal("64"))],
        help_text="Cores a sandbox may use at a time.",
    )
    compile_wall_ms = models.PositiveIntegerField(
        default=30_000,
        validators=[MinValueValidator(100), MaxValueValidator(600_000)],
        help_text="Milliseconds for the compile command, where there is one; the program's own begin after it.",
    )
    compile_cpu_ms = models.PositiveIntegerField(
        default=30_000,
        validators=[MinValueValidator(100), MaxValueValidator(600_000)],
        help_text="Milliseconds of CPU for the compile command.",
    )
    memory_bytes = models.PositiveBigIntegerField(
        default=256 * MIB,
        validators=[MinValueValidator(64 * MIB)],
        help_text="Bytes for the whole sandbox, its files included (they live in memory). "
        "Going over it kills the sandbox.",
    )
    processes = models.PositiveIntegerField(
        default=128,
        validators=[MinValueValidator(16), MaxValueValidator(4096)],
        help_text="Processes and threads of the program. Node.js alone needs 11.",
    )
    open_files = models.PositiveIntegerField(default=1024, validators=[MinValueValidator(64)])
    workspace_bytes = models.PositiveBigIntegerField(
        default=100 * MIB, validators=[MinValueValidator(MIB)], help_text="Size of /workspace, in bytes."
    )
    tmp_bytes = models.PositiveBigIntegerField(
        default=50 * MIB, validators=[MinValueValidator(MIB)], help_text="Size of /tmp, in bytes."
    )
    output_bytes = models.PositiveIntegerField(
        default=4 * MIB,
        validators=[MinValueValidator(1024), MaxValueValidator(64 * MIB)],
        help_text="Bytes kept of stdout, and as many of stderr.",
    )
    output_action = models.CharField(
        max_length=4,
        choices=OutputAction.choices,
        default=OutputAction.CUT,
        help_text="What happens to a run that writes more.",
    )
    result_bytes = models.PositiveIntegerField(
        default=8 * MIB,
        validators=[MinValueValidator(1024), MaxValueValidator(64 * MIB)],
        help_text="Largest JSON that main() may return, in bytes.",
    )
    artifact_count = models.PositiveIntegerField(
        default=10, validators=[MaxValueValidator(100)], help_text="Files kept from ./artifacts."
    )
    artifact_bytes = models.PositiveIntegerField(
        default=10 * MIB,
        validators=[MaxValueValidator(64 * MIB)],
        help_text="Largest file kept from ./artifacts, in bytes; a larger one is left out.",
    )

    seccomp_profile = models.ForeignKey(
        SeccompProfile,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="runtimes",
        help_text="Filter inside the guest, on top of gVisor. Empty: unconfined.",
    )
    network = models.CharField(
        max_length=6,
        choices=Network.choices,
        default=Network.NONE,
        help_text="Egress only for clients that have it too; which hosts, the egress rules say.",
    )
    code_policy = models.CharField(
        max_length=5,
        choices=CodePolicy.choices,
        default=CodePolicy.OFF,
        help_text="What the code rules do on the execution API. They are a lint: gVisor is the barrier.",
    )
    ragflow_code_policy = models.CharField(
        "Code policy on RAGFlow's endpoint",
        max_length=5,
        choices=CodePolicy.choices,
        default=CodePolicy.BLOCK,
        help_text="What the code rules do on POST /run. RAGFlow's own service blocks.",
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
        default=1, validators=[MaxValueValidator(200)], help_text="Warm sandboxes kept when nobody calls."
    )
    pool_max = models.PositiveIntegerField(
        default=8, validators=[MaxValueValidator(200)], help_text="Warm sandboxes kept under demand."
    )

    built_image = models.CharField(
        max_length=80, blank=True, editable=False, help_text="Content id of what the live build made."
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
                    {"aliases": f"{', '.join(sorted(taken))} already means the runtime {other.slug}."}
                )
        # The field's own pattern lets these pass.
        if self.source_file in (".", "..") or self.source_file.endswith("\n"):
            raise ValidationError({"source_file": "A plain file name, e.g. main.py."})
        validate_commands(self)
        if self.pool_min > self.pool_max:
            raise ValidationError({"pool_max": "Must not be below pool_min."})
        if self.workspace_bytes + self.tmp_bytes > self.memory_bytes:
            raise ValidationError(
                {"memory_bytes": "Files live in memory: it must hold /workspace and /tmp together."}
            )
        self._refuse_bad_profile()

    def _refuse_bad_profile(self) -> None:
        """Only a newly chosen one: a verdict that came later must not keep the other fields from being changed."""
        chosen = self.seccomp_profile
        if chosen is None or Runtime.objects.filter(pk=self.pk, seccomp_profile=chosen).exists():
            return
        if problem := known_bad(chosen, [self] if self.pk else []):
            raise ValidationError({"seccomp_profile": f"Not possible: {problem}."})

    def save(self, *args: Any, **kwargs: Any) -> None:
        # An execution records the revision it ran under, so every change makes a new one.
        if self.pk and not kwargs.get("update_fields"):
            self.revision += 1
            if self.built_on and self.built_on != self.image:
                self.drop_build()
        super().save(*args, **kwargs)
        notify(POOL)  # keepers know the runtimes by heart between two announcements

    def drop_build(self) -> None:
        """Back to the image as it is, with the next save; the build stays one click away."""
        self.built_image = self.built_on = ""
        build_dropped.send(type(self), runtime=self)

    @property
    def commands(self) -> dict[str, list[str]] | None:
        """As the runner takes them; None where a worker of the image's own runs the program."""
        if self.runner == Runner.NATIVE:
            return None
        return {
            "compile": shlex.split(self.compile_command),
            "run": shlex.split(self.run_command),
            "function": shlex.split(self.function_command),
        }

    @property
    def live_image(self) -> str:
        """What runs: the live build's, unless another image was named since."""
        return self.built_image if self.built_image and self.built_on == self.image else self.image

    @property
    def limits(self) -> Limits:
        fields = {name: getattr(self, name) for name in Limits.__dataclass_fields__}
        return Limits(**fields | {"cpus": float(self.cpus)})
