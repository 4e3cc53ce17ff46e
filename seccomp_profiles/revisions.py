"""How profiles and their revisions come to be. The admin, the API and what is shipped come through here."""

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from seccomp_profiles.derivation import derive
from seccomp_profiles.models import SeccompActivation, SeccompProfile, SeccompRevision, hash_rules
from seccomp_profiles.validators import validate_profile


def validate(rules: Any) -> None:
    """Raises ValidationError of the field `rules`."""
    if rules is not None and not rules:
        raise ValidationError({"rules": "An empty profile says nothing: leave it out for no filter."})
    try:
        validate_profile(rules)
    except ValidationError as e:
        raise ValidationError({"rules": e.messages}) from e


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
    """The next revision, not yet in force: of a profile with a parent, on top of the parent's active one."""
    SeccompProfile.objects.select_for_update().get(pk=profile.pk)  # numbers it one by one
    last = profile.revisions.order_by("-number").values_list("number", flat=True).first()
    revision = SeccompRevision(profile=profile, number=(last or 0) + 1, note=note, created_by=by)
    if profile.parent:
        revision.parent_revision = profile.parent.current
        revision.allow, revision.deny = sorted(set(allow)), sorted(set(deny))
        revision.effective = derive(profile.parent.rules, allow=revision.allow, deny=revision.deny)
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
