"""From what programs call to the profile that allows just that."""

from dataclasses import dataclass
from typing import Any

from executions.models import Status
from inspections.laboratory import Laboratory
from sandboxes.engine import EngineError
from sandboxes.protocol import Job
from seccomp_profiles.advice import ALWAYS_NEEDED
from seccomp_profiles.diff import diff
from seccomp_profiles.rules import ALLOW, DENY, Json
from seccomp_profiles.x86_64 import NUMBERS

# What a run may come to by chance, though it did not while it was watched: the end of a worker that waited with
# other modules loaded, the reading of artifacts, a signal's return, memory that is full, a lock that is taken.
_BY_CHANCE = """
    brk clock_gettime clock_nanosleep clone close exit exit_group fstat futex getdents64 getegid geteuid getgid
    getpid getrandom gettid getuid ioctl kill lseek lstat madvise mmap mprotect mremap munmap nanosleep newfstatat
    open openat poll read restart_syscall rt_sigaction rt_sigprocmask rt_sigreturn sched_yield setresgid setresuid
    stat sysinfo tgkill wait4 write
"""
BY_CHANCE = frozenset(_BY_CHANCE.split())
# A program that is watched twice does not do the same twice.
ROUNDS = 3


@dataclass(frozen=True)
class Sample:
    """A program to learn from."""

    name: str
    job: Job


def learn(laboratory: Laboratory, samples: list[Sample], base: Json | None, base_name: str) -> dict[str, Any]:
    """The details of the inspection, with the proposed rules. Raises Cancelled and EngineError: what is not
    sure is not proposed."""
    called: set[str] = set()
    programs = []
    for sample in samples:
        observed = laboratory.run(sample.job, None, traced=True)
        if observed.trace is None or observed.verdict is None or observed.start_error:
            raise EngineError(f"{sample.name}: {observed.start_error or 'it was not traced'}")
        if observed.verdict.status == Status.PLATFORM_ERROR:
            raise EngineError(f"{sample.name}: {observed.verdict.message}")
        if unknown := sorted(observed.trace.called.keys() - NUMBERS.keys()):
            raise EngineError(f"{sample.name}: it makes calls that the platform has no names for: {unknown}")
        called |= observed.trace.called.keys()
        programs.append(
            {"name": sample.name, "status": observed.verdict.status, "calls": len(observed.trace.called)}
        )
    for _ in range(ROUNDS):
        refused = refused_to(laboratory, samples, allowing(called))
        if not refused:
            break
        called |= refused
    else:
        raise EngineError(f"under what was learnt, {', '.join(sorted(refused))} is refused again and again")
    proposal = allowing(called)
    return {
        "summary": f"{len(called)} system calls in {len(samples)} programs; {len(named(proposal))} are proposed.",
        "programs": programs,
        "called": sorted(called),
        "proposal": proposal,
        "base": base_name,
        "difference": diff(base, proposal).as_dict(),
    }


def refused_to(laboratory: Laboratory, samples: list[Sample], rules: dict[str, Any]) -> set[str]:
    refused: set[str] = set()
    for sample in samples:
        observed = laboratory.run(sample.job, rules, traced=True)
        if observed.trace is None:
            raise EngineError(f"{sample.name}: it was not traced")
        refused |= observed.trace.refused.keys()
    return refused


def allowing(called: set[str]) -> dict[str, Any]:
    groups = {
        "learnt": called,
        "what a run may come to by chance": BY_CHANCE - called,
        # Where there is no runner it was not seen; without these no profile can be saved.
        "what a runner calls": ALWAYS_NEEDED - BY_CHANCE - called,
    }
    return {
        "defaultAction": DENY,
        "syscalls": [
            {"names": sorted(names), "action": ALLOW, "comment": comment}
            for comment, names in groups.items()
            if names
        ],
    }


def named(rules: Json) -> set[str]:
    return {name for rule in rules["syscalls"] for name in rule["names"]}
