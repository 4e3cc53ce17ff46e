"""How profiles and their revisions come to be. The admin, the API and what is shipped come through here."""

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from seccomp_profiles.derivation import derive
from seccomp_profiles.findings import ERROR, Finding
from seccomp_profiles.models import SeccompActivation, SeccompProfile, SeccompRevision, hash_rules
from seccomp_profiles.validators import findings, for_changes


def check(
    rules: Any = None,
    *,
    parent: SeccompProfile | None = None,
    allow: Iterable[str] = (),
    deny: Iterable[str] = (),
) -> list[Finding]:
    """What there is to say about a revision like this before it is made."""
    allow, deny = list(allow), list(deny)
    if parent:
        if rules is not None:
            message = f"It extends {parent}: it has allow and deny instead of rules."
            return [Finding(ERROR, "", message, "Leave rules out.")]
        return for_changes(allow, deny, derive(parent.rules, allow=allow, deny=deny))
    for key, names in (("allow", allow), ("deny", deny)):
        if names:
            return [Finding(ERROR, key, "It extends no other profile.", "Write rules.")]
    if rules is not None and not rules:
        return [Finding(ERROR, "", "An empty profile says nothing.", "Leave it out for no filter.")]
    return findings(rules)


def about(revision: SeccompRevision) -> list[Finding]:
    """What there is to say about one that was made: its parent may have changed since, it has not."""
    if revision.parent_revision_id:
        return for_changes(revision.allow, revision.deny, revision.effective)
    return findings(revision.rules)


def validate(rules: Any = None, **changes: Any) -> list[Finding]:
    """Warnings and remarks; raises ValidationError of the fields rules, allow and deny."""
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
    """A profile with its first revision, in force: nobody uses it yet."""
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
    """The next revision, not yet in force: of a profile with a parent, on top of the parent's active one.
    Raises ValidationError."""
    allow, deny = sorted(set(allow)), sorted(set(deny))
    validate(rules, parent=profile.parent, allow=allow, deny=deny)
    SeccompProfile.objects.select_for_update().get(pk=profile.pk)  # numbers it one by one
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
    """Without asking whether it may: see activation.activate."""
    profile = revision.profile
    activation = SeccompActivation.objects.create(
        profile=profile, revision=revision, previous=profile.active, activated_by=by, override=override
    )
    profile.active = revision
    profile.save(update_fields=["active", "updated_at"])
    return activation
