"""Activation: putting a revision in force.

A revision that is not proven on its runtimes is only activated with a reason, which is stored with the activation. A
revision that was in force before needs none, unless a probe says that it is not enforced: a rollback must not wait.
"""

from collections.abc import Iterable
from typing import Any

from django.db import transaction

from sandbox_platform.kit.errors import Conflicting
from sandbox_platform.kit.notify import POOL, notify
from seccomp_profiles.models import SeccompActivation, SeccompProfile, SeccompRevision
from seccomp_profiles.proof import Proof, proofs, runtimes_under
from seccomp_profiles.revisions import put_in_force

ROLLBACK = "Rollback to a revision that was in force before."


class NotProven(Conflicting):
    def __init__(self, revision: SeccompRevision, obstacles: list[Proof]) -> None:
        self.obstacles = obstacles
        super().__init__(
            f"{revision} is not proven: {'; '.join(proof.obstacle for proof in obstacles)}.",
            field="override",
            remedy="Probe the revision on its runtimes, or give the reason in override; it is recorded.",
            code="not_proven",
        )


def obstacles(revision: SeccompRevision, runtimes: Iterable[Any] | None = None) -> list[Proof]:
    """Return the proofs that keep the revision from being activated.

    `runtimes` limits the check to these runtimes; None checks all that would run under the revision's profile.
    """
    if revision.effective is None:
        return []  # without a filter there is nothing to prove
    under = runtimes_under(revision.profile) if runtimes is None else list(runtimes)
    return [proof for proof in proofs(revision, under) if proof.obstacle]


@transaction.atomic
def activate(revision: SeccompRevision, *, by: str, override: str = "") -> SeccompActivation:
    """Put the revision in force: from the commit on, no run gets a sandbox under another revision.

    `override` is the reason to activate a revision that is not proven; a rollback has one of its own. Activating the
    revision that is already in force changes nothing. Raises NotProven.
    """
    profiles = SeccompProfile.objects.select_for_update(of=("self",)).select_related("active")
    profile = profiles.get(pk=revision.profile_id)
    revision.profile = profile
    if profile.active == revision:
        return revision.activations.latest("id")
    found = obstacles(revision)
    reason = override.strip()
    if not reason and revision.was_in_force and not any(proof.not_enforced for proof in found):
        reason = ROLLBACK
    if found and not reason:
        raise NotProven(revision, found)
    activation = put_in_force(revision, by=by, override=reason if found else "")
    notify(POOL)  # the keeper removes the warm sandboxes that were started under the previous revision
    return activation
