"""Learning: propose a profile that allows only the system calls that traced programs made."""

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

# Calls that a run may make only sometimes, so that a trace may miss them: at the exit of a worker with other modules
# loaded, when artifacts are read, on return from a signal, when memory is full, when a lock is contended.
_BY_CHANCE = """
    brk clock_gettime clock_nanosleep clone close exit exit_group fstat futex getdents64 getegid geteuid getgid
    getpid getrandom gettid getuid ioctl kill lseek lstat madvise mmap mprotect mremap munmap nanosleep newfstatat
    open openat poll read restart_syscall rt_sigaction rt_sigprocmask rt_sigreturn sched_yield setresgid setresuid
    stat sysinfo tgkill wait4 write
"""
BY_CHANCE = frozenset(_BY_CHANCE.split())
# Two runs of a program may make different calls, so the proposal is tried this many times.
ROUNDS = 3


@dataclass(frozen=True)
class Sample:
    """A program to learn from."""

    name: str
    job: Job


def learn(laboratory: Laboratory, samples: list[Sample], base: Json | None, base_name: str) -> dict[str, Any]:
    """Trace the samples without a filter, and return the details of the inspection with the proposed rules.

    Raises Cancelled, and EngineError if a sample could not be traced: no proposal is made from incomplete data.
    """
    called: set[str] = set()
    programs = []
    for sample in samples:
        observed = laboratory.run(sample.job, None, traced=True)
        if observed.trace is None or observed.verdict is None or observed.start_error:
            raise EngineError(f"{sample.name}: {observed.start_error or 'no trace'}")
        if observed.verdict.status == Status.PLATFORM_ERROR:
            raise EngineError(f"{sample.name}: {observed.verdict.message}")
        if unknown := sorted(observed.trace.called.keys() - NUMBERS.keys()):
            raise EngineError(f"{sample.name}: the trace has system calls without a known name: {unknown}")
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
        raise EngineError(f"the proposal still refuses {', '.join(sorted(refused))} after {ROUNDS} rounds")
    proposal = allowing(called)
    return {
        "summary": f"{len(samples)} programs made {len(called)} system calls; {len(named(proposal))} are proposed.",
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
            raise EngineError(f"{sample.name}: no trace")
        refused |= observed.trace.refused.keys()
    return refused


def allowing(called: set[str]) -> dict[str, Any]:
    groups = {
        "made by the traced programs": called,
        "made by some runs only": BY_CHANCE - called,
        # A trace of a shell runtime has no runner in it, but a profile that denies these cannot be saved.
        "made by the runner": ALWAYS_NEEDED - BY_CHANCE - called,
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
