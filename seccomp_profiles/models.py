import hashlib
import json
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from seccomp_profiles.validators import validate_profile

# Docker's name for "no filter inside the guest"; gVisor is the barrier. Docker's own default profile is not an
# option: under runsc it refuses clone3, without which Node.js cannot start a thread.
UNCONFINED = "unconfined"


def docker_value(rules: dict[str, Any] | None) -> str:
    """Return the value for ``seccomp=`` in a container's security options."""
    return UNCONFINED if rules is None else json.dumps(rules, sort_keys=True)


def hash_rules(rules: dict[str, Any] | None) -> str:
    return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()


class SeccompProfileQuerySet(models.QuerySet["SeccompProfile"]):
    def with_sha256(self, sha256: str, *, name: str = "") -> "SeccompRevision | None":
        """Return a revision with exactly these rules, preferably of the profile `name`; None for no filter.

        Raises DoesNotExist.
        """
        if sha256 == hash_rules(None):
            return None
        found = SeccompRevision.objects.filter(sha256=sha256, profile__in=self).select_related("profile")
        if not (revisions := list(found)):
            raise self.model.DoesNotExist
        return max(revisions, key=lambda revision: (revision.profile.name == name, revision.pk))


class SeccompProfile(models.Model):
    """A named profile that runtimes and clients refer to. Its active revision holds the rules."""

    name = models.SlugField(unique=True, help_text="Short name shown on runtimes and executions.")
    description = models.TextField(blank=True, help_text="Purpose of the profile, and which programs it breaks.")
    parent = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="children",
        help_text="The profile that this one extends with allow and deny lists of its own.",
    )
    # Null only inside the transaction that creates the profile.
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
        """Return whether the parent's active revision differs from the one that this profile was derived from."""
        return self.parent is not None and self.current.parent_revision_id != self.parent.active_id

    @property
    def current(self) -> "SeccompRevision":
        """Return the active revision. Its `profile` is this object, so reading it makes no query."""
        if self.active is None:
            # Fail closed: treating this as "no filter" would open the sandbox.
            raise ValueError(f"the seccomp profile {self.name} has no revision")
        self.active.profile = self
        return self.active

    @property
    def draft(self) -> "SeccompRevision | None":
        """Return the newest revision if it follows the active one and was never in force; None without a draft."""
        newest = self.revisions.select_related("parent_revision__profile").order_by("number").last()
        if newest is None or newest.number <= self.current.number or newest.was_in_force:
            return None
        newest.profile = self
        return newest

    @property
    def edited(self) -> "SeccompRevision":
        """Return the revision that the next one continues from: the draft, or else the active revision."""
        return self.draft or self.current

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
    """One version of a profile's rules.

    Immutable, and deleted only together with its profile: see audit/migrations/guards.sql.
    """

    # DO_NOTHING: a trigger deletes the revisions after their profile. Before that, a trigger refuses their deletion.
    profile = models.ForeignKey(SeccompProfile, on_delete=models.DO_NOTHING, related_name="revisions")
    number = models.PositiveIntegerField()
    # The rules as written or imported. Null in a derived profile.
    rules = models.JSONField(
        null=True,
        blank=True,
        validators=[validate_profile],
        help_text="A seccomp profile in Docker's (OCI) JSON form. Empty: no filter inside the guest. "
        "gVisor knows SCMP_ACT_ALLOW, ERRNO (always EPERM), TRAP, KILL and TRACE.",
    )
    # A derived profile has these instead of rules: the parent's revision, and the changes to it.
    parent_revision = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="derived"
    )
    allow = ArrayField(models.CharField(max_length=100), default=list, blank=True)
    deny = ArrayField(models.CharField(max_length=100), default=list, blank=True)
    effective = models.JSONField(null=True, help_text="The rules as passed to Docker.")
    sha256 = models.CharField(max_length=64, help_text="SHA-256 of the rules as passed to Docker.")
    note = models.TextField(blank=True, help_text="Reason for the revision.")
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
    def was_in_force(self) -> bool:
        """Return whether the revision was ever activated; the active one was."""
        return self.activations.exists()

    @property
    def docker_value(self) -> str:
        return docker_value(self.effective)


class SeccompActivation(models.Model):
    """The record that a revision came into force, with the reason if it was not proven. Immutable."""

    profile = models.ForeignKey(SeccompProfile, on_delete=models.DO_NOTHING, related_name="activations")
    revision = models.ForeignKey(SeccompRevision, on_delete=models.DO_NOTHING, related_name="activations")
    previous = models.ForeignKey(SeccompRevision, on_delete=models.DO_NOTHING, null=True, related_name="+")
    activated_at = models.DateTimeField(auto_now_add=True)
    activated_by = models.CharField(max_length=200, blank=True)
    override = models.TextField(blank=True, help_text="Reason for activating a revision that was not proven.")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.revision} at {self.activated_at:%Y-%m-%d %H:%M:%S}"
