"""Forms for adding, changing, validating and activating seccomp profiles."""

import json
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.v1.profile_rules import Rules
from executions.verdict import MAX_NESTING, nested_deeper_than
from sandbox_platform.kit.fields import Name, Strict, Text
from sandbox_platform.kit.schemas import AnyJson
from seccomp_profiles.models import SeccompProfile

SLUG = (r"^[A-Za-z0-9_-]+\Z", "Not a slug: letters, digits, '_' and '-'.")
SYSCALL = (r"^[a-z0-9_]+\Z", "Not the name of a system call: lower-case letters, digits and '_'.")
# Names that are paths of the API: a profile with such a name could not be reached.
RESERVED = ("validate",)


def _names(help_text: str) -> Any:
    return serializers.ListField(
        child=Name(*SYSCALL, max_length=100), required=False, max_length=1000, help_text=help_text
    )


def storable(value: Any, what: str) -> Any:
    if nested_deeper_than(MAX_NESTING, value):
        raise ValidationError(f"Nested too deeply for {what}.")
    text = json.dumps(value, ensure_ascii=False)
    if "\\u0000" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValidationError(f"Contains NUL or lone surrogates, which {what} cannot hold.")
    return value


class RulesForm(Strict):
    rules = Rules(required=False, help_text="The rules in Docker's (OCI) format; null: no filter.")
    allow = _names("Derived profiles only: system calls to allow in addition to the parent's.")
    deny = _names("Derived profiles only: system calls to deny in addition to the parent's.")

    def validate_rules(self, rules: Any) -> Any:
        return storable(rules, "a seccomp profile")


class RevisionForm(RulesForm):
    """A new revision. For a derived profile, a list that is left out is taken from the newest revision."""

    note = Text(required=False, allow_blank=True, max_length=2000, help_text="Reason for the change.")


class _Parented(Strict):
    parent = Text(  # type: ignore[assignment]
        required=False, max_length=50, help_text="Name of the profile to derive from."
    )

    def validate_parent(self, name: str) -> SeccompProfile:
        parent = SeccompProfile.objects.filter(name=name).first()
        if parent is None:
            raise ValidationError(
                f"There is no seccomp profile {name!r}; GET /api/v1/seccomp-profiles lists them."
            )
        return parent


class ValidateForm(_Parented, RulesForm):
    rules = AnyJson(  # type: ignore[assignment]
        required=False, help_text="Any JSON value; null: no filter."
    )


class ProfileForm(_Parented, RevisionForm):
    name = Name(*SLUG, max_length=50)
    description = Text(required=False, allow_blank=True)

    def validate_name(self, name: str) -> str:
        if name in RESERVED:
            raise ValidationError(f"{name} is reserved: it is a path of the API.")
        return name


class ProfileChangeForm(RevisionForm):
    """In a PATCH, fields that are left out keep their values."""

    name = ProfileForm._declared_fields["name"]
    description = Text(required=False, allow_blank=True)

    validate_name = ProfileForm.validate_name


class ActivationForm(Strict):
    override = Text(
        required=False,
        allow_blank=True,
        max_length=2000,
        help_text="Reason to activate the revision although it is not proven. The audit trail keeps it.",
    )
