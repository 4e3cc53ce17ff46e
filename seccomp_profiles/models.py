import hashlib
import json
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from seccomp_profiles.validators import validate_profile

# gVisor is the barrier; this says "no filter inside the guest". Docker's own default profile is not an
# option: applied by runsc it refuses clone3, without which Node.js cannot start a thread.
UNCONFINED = "unconfined"


class SeccompProfileQuerySet(models.QuerySet["SeccompProfile"]):
    def with_sha256(self, sha256: str) -> "SeccompProfile | None":
        """The profile with exactly these rules, None for no filter at all. Raises DoesNotExist."""
        if sha256 == hash_rules(None):
            return None
        for profile in self:
            if profile.sha256 == sha256:
                return profile
        raise self.model.DoesNotExist


class SeccompProfile(models.Model):
    name = models.SlugField(unique=True, help_text="Short name shown on runtimes and executions.")
    description = models.TextField(blank=True, help_text="What it is for, and what it would break.")
    rules = models.JSONField(
        null=True,
        blank=True,
        validators=[validate_profile],
        help_text="A seccomp profile in Docker's (OCI) JSON form. Empty: no filter inside the guest. "
        "gVisor knows SCMP_ACT_ALLOW, ERRNO (always EPERM), TRAP, KILL and TRACE.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = SeccompProfileQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        # Django runs no validator on [] and {}, which it takes for empty.
        if self.rules is not None and not self.rules:
            raise ValidationError({"rules": "An empty profile says nothing: leave it out for no filter."})

    @property
    def docker_value(self) -> str:
        """What follows ``seccomp=`` in a container's security options."""
        return UNCONFINED if self.rules is None else json.dumps(self.rules, sort_keys=True)

    @property
    def sha256(self) -> str:
        return hash_rules(self.rules)


def hash_rules(rules: dict[str, Any] | None) -> str:
    return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()
