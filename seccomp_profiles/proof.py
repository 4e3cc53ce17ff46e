"""Sources for what running programs has shown about a profile. Higher rooms register the functions that answer."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sandbox_platform.kit.sources import Source, Sources
from seccomp_profiles.models import SeccompProfile, SeccompRevision


@dataclass(frozen=True)
class Proof:
    """The newest probe of a revision on a runtime that would run under it."""

    runtime: str  # slug
    verdict: str  # "" if the revision was never probed
    label: str  # the verdict's display name
    obstacle: str  # why the revision must not be activated on this runtime; "" when it is proven

    @property
    def enforced(self) -> bool:
        return self.verdict == "enforced"

    @property
    def not_enforced(self) -> bool:
        """Return whether programs on this runtime would run without the filter."""
        return self.verdict == "not_enforced"


# Returns the enabled runtimes whose programs run under a profile.
runtimes_under: Source[[SeccompProfile], list[Any]] = Source("which runtimes run under a seccomp profile")
# Returns a Proof for each of the given runtimes.
proofs: Source[[SeccompRevision, Iterable[Any]], list[Proof]] = Source("whether a seccomp revision is proven")
# Returns why a profile must not be given to these runtimes; "" if no reason is known.
known_bad: Source[[SeccompProfile, Iterable[Any]], str] = Source("whether a seccomp profile is known to be bad")
# Each returns additional context of a profile's page.
page_context: Sources[[SeccompProfile], dict[str, Any]] = Sources()
