import hashlib
import json
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from seccomp_profiles.validators import validate_profile

# gVisor is the barrier; this says "no filter inside the guest". Docker's own default profile is not an
# option: applied by runsc it refuses clone3, without which Node.js cannot start a thread.
UNCONFINED = "unconfined"


def docker_value(rules: dict[str, Any] | None) -> str:
    """What follows ``seccomp=`` in a container's security options."""
    return UNCONFINED if rules is None else json.dumps(rules, sort_keys=True)


def hash_rules(rules: dict[str, Any] | None) -> str:
    return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()


class SeccompProfileQuerySet(models.QuerySet["SeccompProfile"]):
    def with_sha256(self, sha256: str, *, name: str = "") -> "SeccompRevision | None":
        """The revision with exactly these rules, of the profile `name` if it has one; None for no filter at all.
        Raises DoesNotExist."""
        if sha256 == hash_rules(None):
            return None
        found = SeccompRevision.objects.filter(sha256=sha256, profile__in=self).select_related("profile")
        if not (revisions := list(found)):
            raise self.model.DoesNotExist
        return max(revisions, key=lambda revision: (revision.profile.name == name, revision.pk))


class SeccompProfile(models.Model):
    """A name that runtimes and clients point at. What it says is its active revision's."""

    name = models.SlugField(unique=True, help_text="Short name shown on runtimes and executions.")
    description = models.TextField(blank=True, help_text="What it is for, and what it would break.")
    parent = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="children",
        help_text="The profile that this one extends: it only says what it allows and denies beside it.",
    )
    # Null only inside the transaction that creates it.
    active = models.ForeignKey(
        "SeccompRevision", on_delete=models.PROTECT, null=True, editable=False, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = SeccompProfileQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def parent_is_newer(self) -> bool:
        """The parent says something else than what this one was derived from."""
        return self.parent is not None and self.current.parent_revision_id != self.parent.active_id

    @property
    def current(self) -> "SeccompRevision":
        """The active revision, which knows this row without asking Postgres for it."""
        if self.active is None:
            # No filter would be the wrong guess.
            raise ValueError(f"the seccomp profile {self.name} has no revision")
        self.active.profile = self
        return self.active

    @property
    def rules(self) -> dict[str, Any] | None:
        return self.current.effective

    @property
    def sha256(self) -> str:
        return self.current.sha256

    @property
    def docker_value(self) -> str:
        return self.current.docker_value


class SeccompRevision(models.Model):
    """What a profile says at a time. Never changes, and goes only with its profile: see audit/migrations/guards.sql."""

    # DO_NOTHING: a trigger takes the revisions away after their profile, before that they cannot go.
    profile = models.ForeignKey(SeccompProfile, on_delete=models.DO_NOTHING, related_name="revisions")
    number = models.PositiveIntegerField()
    # As they were written or imported.
    rules = models.JSONField(
        null=True,
        blank=True,
        validators=[validate_profile],
        help_text="A seccomp profile in Docker's (OCI) JSON form. Empty: no filter inside the guest. "
        "gVisor knows SCMP_ACT_ALLOW, ERRNO (always EPERM), TRAP, KILL and TRACE.",
    )
    # Instead of rules, of a profile that extends another: the revision that it was derived from, and the changes.
    parent_revision = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="derived"
    )
    allow = ArrayField(models.CharField(max_length=100), default=list, blank=True)
    deny = ArrayField(models.CharField(max_length=100), default=list, blank=True)
    effective = models.JSONField(null=True, help_text="What Docker is given.")
    sha256 = models.CharField(max_length=64, help_text="Of what Docker is given.")
    note = models.TextField(blank=True, help_text="Why it was made.")
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["profile", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["profile", "number"], name="seccomp_revision_number_once"),
            models.CheckConstraint(
                condition=Q(parent_revision__isnull=True, allow=[], deny=[])
                | Q(parent_revision__isnull=False, rules__isnull=True),
                name="seccomp_revision_rules_or_changes",
            ),
        ]
        indexes = [models.Index(fields=["sha256"], name="seccomp_revision_sha256_idx")]

    def __str__(self) -> str:
        return f"{self.profile.name} {self.number}"

    @property
    def docker_value(self) -> str:
        return docker_value(self.effective)


class SeccompActivation(models.Model):
    """That a revision became the one in force, and why if its probe said no. Never changes."""

    profile = models.ForeignKey(SeccompProfile, on_delete=models.DO_NOTHING, related_name="activations")
    revision = models.ForeignKey(SeccompRevision, on_delete=models.DO_NOTHING, related_name="activations")
    previous = models.ForeignKey(SeccompRevision, on_delete=models.DO_NOTHING, null=True, related_name="+")
    activated_at = models.DateTimeField(auto_now_add=True)
    activated_by = models.CharField(max_length=200, blank=True)
    override = models.TextField(blank=True, help_text="Why it was activated despite its verdict.")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.revision} at {self.activated_at:%Y-%m-%d %H:%M:%S}"
