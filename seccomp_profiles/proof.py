"""What is known about a profile from running programs under it. Higher rooms know; this room asks."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sandbox_platform.kit.sources import Source, Sources
from seccomp_profiles.models import SeccompProfile, SeccompRevision


@dataclass(frozen=True)
class Proof:
    """The newest probe of a revision on a runtime that would run under it."""

    runtime: str  # slug
    verdict: str  # "" without a probe
    words: str  # the verdict for people
    obstacle: str  # why the revision must not be put in force on this runtime; "" when it is proven

    @property
    def enforced(self) -> bool:
        return self.verdict == "enforced"


# The enabled runtimes whose programs run under a profile.
runtimes_under: Source[[SeccompProfile], list[Any]] = Source("which runtimes run under a seccomp profile")
# A Proof for each of the given runtimes.
proofs: Source[[SeccompRevision, Iterable[Any]], list[Proof]] = Source("whether a seccomp revision is proven")
# Why a profile must not be given to these runtimes, as far as it is known; "" when nothing is.
known_bad: Source[[SeccompProfile, Iterable[Any]], str] = Source("whether a seccomp profile is known to be bad")
# Further context of a profile's page.
page_context: Sources[[SeccompProfile], dict[str, Any]] = Sources()
