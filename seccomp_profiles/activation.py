"""Which revision is in force. A revision that would not hold, or would break its runtimes, is not put in force
without a reason that stays on record."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Q

from executions.models import Client
from executions.notify import POOL, notify
from runtimes.models import Runtime
from seccomp_profiles.models import (
    Inspection,
    InspectionVerdict,
    SeccompActivation,
    SeccompProfile,
    SeccompRevision,
)
from seccomp_profiles.revisions import put_in_force


@dataclass(frozen=True)
class Obstacle:
    """That a revision is not proven on a runtime that would run under it."""

    runtime: str
    verdict: str  # "" without a probe
    message: str


class NotProven(Exception):
    def __init__(self, revision: SeccompRevision, obstacles: list[Obstacle]) -> None:
        self.obstacles = obstacles
        super().__init__(f"{revision} is not proven: {'; '.join(obstacle.message for obstacle in obstacles)}.")


def runtimes_under(profile: SeccompProfile) -> list[Runtime]:
    """The enabled ones whose programs run under it: it is their own, or that of a client that may use them."""
    wanted = Q(seccomp_profile=profile)
    for client in Client.objects.filter(seccomp_profile=profile, enabled=True):
        wanted |= Q(slug__in=client.allowed_runtimes) if client.allowed_runtimes else Q(pk__isnull=False)
    return list(Runtime.objects.enabled().filter(wanted))


def obstacles(revision: SeccompRevision, runtimes: Iterable[Runtime] | None = None) -> list[Obstacle]:
    """Why it must not be put in force, on these runtimes or on all that would run under it."""
    if revision.effective is None:
        return []  # no filter: nothing can fail to hold
    under = runtimes_under(revision.profile) if runtimes is None else list(runtimes)
    probes = Inspection.objects.newest_probes([revision], under)
    found = []
    for runtime in under:
        probe = probes.get((revision.pk, runtime.pk))
        if message := _why_not(runtime, probe):
            found.append(Obstacle(runtime.slug, probe.verdict if probe else "", message))
    return found


def _why_not(runtime: Runtime, probe: Inspection | None) -> str:
    if probe is None:
        return f"it was never probed on {runtime.slug}"
    if probe.verdict != InspectionVerdict.ENFORCED:
        return f"on {runtime.slug} the probe says: {probe.get_verdict_display().lower()}"
    # The runtime may have another image since.
    if (probe.runtime_revision or 0) < runtime.revision:
        return f"{runtime.slug} was changed since it was probed"
    return ""


@transaction.atomic
def activate(revision: SeccompRevision, *, by: str, override: str = "") -> SeccompActivation:
    """From its commit on, no run gets a sandbox under another revision. Raises NotProven, unless `override` says
    why it shall be in force all the same. One that is in force already stays as it is."""
    profiles = SeccompProfile.objects.select_for_update(of=("self",)).select_related("active")
    profile = profiles.get(pk=revision.profile_id)
    revision.profile = profile
    if profile.active == revision:
        return revision.activations.latest("id")
    found = obstacles(revision)
    if found and not override.strip():
        raise NotProven(revision, found)
    activation = put_in_force(revision, by=by, override=override.strip() if found else "")
    notify(POOL)  # the keeper removes the warm ones of before
    return activation
