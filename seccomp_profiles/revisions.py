"""Create profiles and revisions. The admin, the API and the shipped profiles all use these functions."""

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from seccomp_profiles.derivation import derive
from seccomp_profiles.findings import ERROR, Finding
from seccomp_profiles.models import SeccompActivation, SeccompProfile, SeccompRevision, hash_rules
from seccomp_profiles.validators import findings, findings_for_changes


def check(
    rules: Any = None,
    *,
    parent: SeccompProfile | None = None,
    allow: Iterable[str] = (),
    deny: Iterable[str] = (),
) -> list[Finding]:
    """Return the findings about a revision before it is created."""
    allow, deny = list(allow), list(deny)
    if parent:
        if rules is not None:
            message = f"The profile extends {parent}: it takes allow and deny instead of rules."
            return [Finding(ERROR, "", message, "Remove the rules.")]
        return findings_for_changes(allow, deny, derive(parent.rules, allow=allow, deny=deny))
    for key, names in (("allow", allow), ("deny", deny)):
        if names:
            return [Finding(ERROR, key, "The profile has no parent to extend.", "Use rules instead.")]
    if rules is not None and not rules:
        return [Finding(ERROR, "", "The profile is empty.", "For no filter, leave the rules out.")]
    return findings(rules)


def findings_of(revision: SeccompRevision) -> list[Finding]:
    """Return the findings about an existing revision. Later changes of the parent do not matter."""
    if revision.parent_revision_id:
        return findings_for_changes(revision.allow, revision.deny, revision.effective)
    return findings(revision.rules)


def validate(rules: Any = None, **changes: Any) -> list[Finding]:
    """Return the warnings and remarks. Raises ValidationError with the errors of the fields rules, allow and deny."""
    found = check(rules, **changes)
    errors: dict[str, list[str]] = {}
    for finding in found:
        if finding.level == ERROR:
            field = (
                finding.path if finding.path in ("allow", "deny") else "deny" if changes.get("parent") else "rules"
            )
            errors.setdefault(field, []).append(str(finding))
    if errors:
        raise ValidationError(errors)
    return found


@transaction.atomic
def create_profile(
    name: str,
    rules: dict[str, Any] | None = None,
    *,
    description: str = "",
    parent: SeccompProfile | None = None,
    allow: Iterable[str] = (),
    deny: Iterable[str] = (),
    note: str = "",
    by: str = "",
) -> SeccompProfile:
    """Create a profile with its first revision in force. No proof is needed: nothing uses the profile yet."""
    profile = SeccompProfile.objects.create(name=name, description=description, parent=parent)
    revision = add_revision(profile, rules, allow=allow, deny=deny, note=note, by=by)
    put_in_force(revision, by=by)
    return profile


@transaction.atomic
def add_revision(
    profile: SeccompProfile,
    rules: dict[str, Any] | None = None,
    *,
    allow: Iterable[str] = (),
    deny: Iterable[str] = (),
    note: str = "",
    by: str = "",
) -> SeccompRevision:
    """Add the next revision as a draft. A derived profile's revision builds on the parent's active one.

    Raises ValidationError.
    """
    allow, deny = sorted(set(allow)), sorted(set(deny))
    validate(rules, parent=profile.parent, allow=allow, deny=deny)
    SeccompProfile.objects.select_for_update().get(
        pk=profile.pk
    )  # the lock keeps the numbers unique and without gaps
    last = profile.revisions.order_by("-number").values_list("number", flat=True).first()
    revision = SeccompRevision(profile=profile, number=(last or 0) + 1, note=note, created_by=by)
    if profile.parent:
        revision.parent_revision = profile.parent.current
        revision.allow, revision.deny = allow, deny
        revision.effective = derive(profile.parent.rules, allow=allow, deny=deny)
    else:
        revision.rules = revision.effective = rules
    revision.sha256 = hash_rules(revision.effective)
    revision.save(force_insert=True)
    return revision


def put_in_force(revision: SeccompRevision, *, by: str, override: str = "") -> SeccompActivation:
    """Put the revision in force without checking that it is proven: activation.activate checks."""
    profile = revision.profile
    activation = SeccompActivation.objects.create(
        profile=profile, revision=revision, previous=profile.active, activated_by=by, override=override
    )
    profile.active = revision
    profile.save(update_fields=["active", "updated_at"])
    return activation
