"""Probe: check that a profile is enforced in a runtime's sandboxes, and that the runtime works under it.

Every system call is made with invalid arguments, once without a filter and once under the profile. gVisor also
returns EPERM without a filter, so only a call whose return value differs proves something.
"""

import errno
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from executions.programs import disagreements, job_of
from inspections import semantics
from inspections.caller import NEVER, Call
from inspections.laboratory import Laboratory
from inspections.models import InspectionVerdict
from sandboxes.protocol import Job
from sandboxes.tracing import TraceError
from seccomp_profiles.rules import ALLOW, Json, names_of
from seccomp_profiles.rules import DENY as ERRNO
from seccomp_profiles.syscalls import RECENT
from seccomp_profiles.x86_64 import NUMBERS

EPERM = -errno.EPERM
# Each call that must kill takes a sandbox of its own.
KILLS_TRIED = 4
# How often a call may kill the sandbox unexpectedly before the remaining calls are given up.
RESTARTS = 4
NO_PROGRAMS = "The runtime has no smoke programs that succeed: a sandbox was started, but no program ran."
Program = dict[str, Any]


@dataclass
class Findings:
    """Names of system calls, by how the sandbox treated them."""

    refused: list[str] = field(default_factory=list)  # as the profile states
    allowed: list[str] = field(default_factory=list)  # as the profile states
    not_refused: list[str] = field(default_factory=list)  # although the profile refuses them
    not_allowed: list[str] = field(default_factory=list)  # although the profile allows them
    cannot_tell: list[str] = field(default_factory=list)  # EPERM with and without the filter
    not_tried: list[str] = field(default_factory=list)

    def judge(self, call: Call, expected: str, answer: int | None, baseline: int | None) -> None:
        """File the call under one of the lists.

        `answer` is the return value under the profile, `baseline` that without a filter. None: the call killed.
        """
        if baseline is None:
            self.not_tried.append(call.name)
        elif call.name in RECENT and baseline == -errno.ENOSYS:
            # This gVisor does not know the name: rules for it have no effect.
            self._add("cannot_tell", call.name)
        elif expected == ALLOW:
            blocked = answer is None or (answer == EPERM != baseline)
            same = answer == EPERM == baseline
            self._add("not_allowed" if blocked else "cannot_tell" if same else "allowed", call.name)
        elif expected in (ERRNO, "SCMP_ACT_TRACE"):
            # Without a tracer, SCMP_ACT_TRACE returns ENOSYS.
            refusal = EPERM if expected == ERRNO else -errno.ENOSYS
            refused = answer is None or answer == refusal
            proven = refused and baseline != refusal
            self._add("refused" if proven else "cannot_tell" if refused else "not_refused", call.name)
        else:
            self._add("refused" if answer is None else "not_refused", call.name)

    def _add(self, kind: str, name: str) -> None:
        names: list[str] = getattr(self, kind)
        if name not in names:
            names.append(name)


def probe(
    laboratory: Laboratory, rules: dict[str, Any] | None, programs: list[Program]
) -> tuple[InspectionVerdict, dict[str, Any]]:
    """Return the verdict and the details. Raises Cancelled and EngineError."""
    findings = probe_calls(laboratory, rules)
    broken = [result for result in try_programs(laboratory, rules, programs) if result["complaint"]]
    details = {
        "summary": summary(findings, broken, programs, rules),
        "calls": asdict(findings) | {"allowed": len(findings.allowed)},
        "programs": {"tried": [program["name"] for program in programs], "broken": broken},
    }
    return verdict(findings, broken, rules), details


def verdict(findings: Findings, broken: list[Any], rules: dict[str, Any] | None) -> InspectionVerdict:
    if findings.not_refused:
        return InspectionVerdict.NOT_ENFORCED
    if broken or findings.not_allowed:
        return InspectionVerdict.BREAKS_RUNTIME
    if refuses(rules) and not findings.refused:
        return InspectionVerdict.ERROR
    return InspectionVerdict.ENFORCED


def refuses(rules: Json | None) -> bool:
    """Return whether the rules refuse any call."""
    return rules is not None and any(semantics.action(rules, call) != ALLOW for call in calls_for(rules))


def probe_calls(laboratory: Laboratory, rules: dict[str, Any] | None) -> Findings:
    findings = Findings(not_tried=sorted(NEVER))
    if rules is None:
        return findings
    # If rules depend on capabilities, the calls must be made with the runner's capabilities.
    capable = not semantics.is_conditional(rules)
    expected = {call: semantics.action(rules, call) for call in calls_for(rules)}
    lasting = [call for call, action in expected.items() if action in (ALLOW, ERRNO, "SCMP_ACT_TRACE")]
    deadly = [call for call in expected if call not in lasting]
    findings.not_tried += sorted({call.name for call in deadly[KILLS_TRIED:]})
    # The return values are written to stdout. A profile that refuses write gives no values, and breaks every runtime.
    baseline = dict(ask(laboratory, lasting + deadly[:KILLS_TRIED], None, capable))
    for call, answer in ask(laboratory, lasting, rules, capable):
        findings.judge(call, expected[call], answer, baseline.get(call))
    for deadly_call in deadly[:KILLS_TRIED]:
        for call, answer in ask(laboratory, [deadly_call], rules, capable):
            findings.judge(call, expected[call], answer, baseline.get(call))
    tried = {call.name for call in expected}
    filed = {name for names in asdict(findings).values() for name in names}
    findings.not_tried += sorted(tried - filed)
    return findings


def calls_for(rules: Json) -> list[Call]:
    """Return every call with invalid arguments, and for each rule with conditions a call that matches them."""
    calls = [Call.harmless(name) for name in NUMBERS if name not in NEVER]
    for rule in semantics.applying(rules):
        if rule.get("args"):
            names = (name for name in names_of(rule) if name in NUMBERS and name not in NEVER)
            calls += [semantics.matching(rule, Call.harmless(name)) for name in names]
    return list(dict.fromkeys(calls))


def ask(
    laboratory: Laboratory, calls: list[Call], rules: dict[str, Any] | None, capable: bool
) -> Iterator[tuple[Call, int | None]]:
    """Yield each call with its return value, None if it killed the program. Gives up after RESTARTS sandboxes."""
    for _ in range(RESTARTS):
        answers = laboratory.ask(calls, rules, capable=capable)
        yield from zip(calls, answers.values, strict=False)
        calls = calls[len(answers.values) :]
        if not calls or not answers.killed:
            return
        yield calls[0], None
        calls = calls[1:]
        if not calls:
            return


def try_programs(
    laboratory: Laboratory, rules: dict[str, Any] | None, programs: list[Program]
) -> Iterator[dict[str, Any]]:
    """Yield each program's name and complaint ("" if it works), with the refused calls if there is a complaint.

    Without programs, a sandbox is only started.
    """
    tried: list[Program | None] = [*programs] or [None]
    for program in tried:
        limits = laboratory.limits.lowered_to(program.get("limits", {}) if program else {})
        bounded = laboratory.under(limits)
        job = job_of(program, laboratory.runtime, limits) if program else None
        observed = bounded.run(job, rules)
        complaint = observed.start_error
        if program and observed.report and observed.verdict:
            complaint = "; ".join(disagreements(program, observed.report, observed.verdict))
        name = program["name"] if program else "the start of a sandbox"
        yield {"name": name, "complaint": complaint} | (blocked_at(bounded, job, rules) if complaint else {})
        if observed.start_error:
            return  # the other programs would fail the same way


def blocked_at(laboratory: Laboratory, job: Job | None, rules: dict[str, Any] | None) -> dict[str, Any]:
    """Run the job again, traced, and return the refused calls, or in `untold` why they cannot be named."""
    try:
        observed = laboratory.run(job, rules, traced=True)
    except TraceError as e:
        return {"refused": [], "untold": str(e)}
    return {"refused": observed.trace.order if observed.trace else []}


def summary(findings: Findings, broken: list[Any], programs: list[Program], rules: dict[str, Any] | None) -> str:
    if findings.not_refused:
        return (
            f"Not enforced: {listed(findings.not_refused)} went through although the profile refuses them. "
            "Docker's registration of gVisor lacks --oci-seccomp: run `make setup`."
        )
    if broken:
        refused = list(dict.fromkeys(name for result in broken for name in result.get("refused", ())))
        by = f", refused: {listed(refused)}" if refused else ""
        return f"The programs {listed([result['name'] for result in broken])} do not run under the profile{by}."
    if findings.not_allowed:
        return f"{listed(findings.not_allowed)} did not go through although the profile allows them."
    ran = f"{len(programs)} programs ran." if programs else NO_PROGRAMS
    if not refuses(rules):
        return f"The profile refuses nothing, so there is nothing to enforce. {ran}"
    if not findings.refused:
        return "Inconclusive: gVisor refuses the same calls without a filter."
    proven = f"{len(findings.refused)} calls were refused and {len(findings.allowed)} went through, as stated."
    return f"Enforced: {proven} {ran}"


def listed(names: list[str], few: int = 8) -> str:
    more = len(names) - few
    return ", ".join(names[:few]) + (f" and {more} more" if more > 0 else "")
