"""Judges: each looks at what was stored, served and seen on the host, and returns what is wrong.

None believes the guest. `tried` alone asks the program, whether its attack took place: a corpus whose programs do not
even start would hold everywhere.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from attacks.client import OPEN, Answer, Served
from attacks.corpus import ACCEPTED, Case
from attacks.host import Host

# What a program may be late by: its compilation, the overtime in which its end is asked for, and a busy machine.
LATE_MS = 10_000
# The kernel charges memory in batches for each processor, so its counter may exceed a limit that holds.
BATCHED = 1 << 20
SLOW_S = 1.0
# A browser runs no script of these when it opens them.
INERT = ("text/plain", "text/csv", "application/json", "application/octet-stream", "application/pdf", "image/")
OF_THE_PLATFORM = ("platform_error", "cancelled")


@dataclass
class Evidence:
    """What is known of one case after its end. `latencies`: of the other client and of /healthz, in seconds."""

    marker: str
    began: float  # time.time()
    answer: Answer
    stored: list[dict[str, Any]] = field(default_factory=list)  # the program's execution, then that of the look
    served: list[Served] = field(default_factory=list)
    is_listed: bool = True
    health_s: list[float] = field(default_factory=list)
    others_s: list[float] = field(default_factory=list)
    host: Host | None = None
    is_open: bool = False  # the port that the case listens on

    @property
    def execution(self) -> dict[str, Any]:
        return self.stored[0] if self.stored else {}

    def texts(self) -> str:
        """Return all that the platform keeps of what the programs wrote."""
        kept = [str(row.get(name) or "") for row in self.stored for name in ("stdout", "stderr", "message")]
        kept += [json.dumps(row.get("result"), ensure_ascii=False) for row in self.stored]
        return "\n".join(kept + [served.content.decode("utf-8", "replace") for served in self.served])


Judge = Callable[[Case, Evidence], Iterator[str]]


def answered(case: Case, seen: Evidence) -> Iterator[str]:
    if seen.answer.status not in case.answers:
        yield f"the submission was answered with {seen.answer.status}: {str(seen.answer.body)[:200]}"
    if seen.answer.status >= 400 and seen.answer.status not in (429,):
        problem = seen.answer.body
        if not isinstance(problem, dict) or not problem.get("detail"):
            yield f"the refusal does not say what is wrong: {str(problem)[:200]}"


def ended(case: Case, seen: Evidence) -> Iterator[str]:
    for number, row in enumerate(seen.stored):
        # The platform's own look must succeed: it is what shows a trace.
        allowed = case.ends if number == 0 else ("succeeded",)
        if row["status"] in OPEN:
            yield f"execution {row['id']} has not ended"
        elif row["status"] in OF_THE_PLATFORM or row["status"] not in allowed:
            yield f"it ended as {row['status']} ({row.get('outcome')}: {row.get('message')}), not {'/'.join(allowed)}"


def tried(case: Case, seen: Evidence) -> Iterator[str]:
    if not seen.stored or not case.tried:
        return
    if "tried" not in (seen.execution.get("stdout") or ""):
        wrong = (seen.execution.get("stderr") or "")[-300:]
        yield f"the attack did not take place, so it shows nothing: {wrong!r}"
    if len(seen.stored) > 1 and "looked" not in (seen.stored[1].get("stdout") or ""):
        yield f"the look at the next sandbox did not take place: {(seen.stored[1].get('stderr') or '')[-300:]!r}"


def expected(case: Case, seen: Evidence) -> Iterator[str]:
    row = seen.execution
    names = sorted(served.name for served in seen.served)
    for name, value in case.expect.items():
        if name == "artifacts":
            actual: Any = names
        elif name == "artifacts_within":
            actual = value if set(names) <= set(value) else names
        else:
            actual = row.get(name)
        if actual != value:
            yield f"{name} is {str(actual)[:200]}, not {value}"


def within_stored_limits(case: Case, seen: Evidence) -> Iterator[str]:
    for row in seen.stored:
        limits = row.get("limits") or {}
        for name in ("stdout", "stderr"):
            # Bytes that are no text are stored as U+FFFD, three bytes for one.
            if len(row.get(name) or "") > limits.get("output_bytes", 0):
                yield f"{name} has {len(row[name])} characters, more than the limit"
        if len(json.dumps(row.get("result"), ensure_ascii=False)) > limits.get("result_bytes", 0) * 3 + 10:
            yield "the result is larger than the limit"
        wall = limits.get("wall_time_ms", 0) + limits.get("compile_wall_ms", 0)
        if (row.get("duration_ms") or 0) > wall + LATE_MS:
            yield f"it ran for {row['duration_ms']:.0f} ms with a limit of {limits['wall_time_ms']} ms"
        if (row.get("peak_memory_bytes") or 0) > limits.get("memory_bytes", 0) + BATCHED:
            yield f"it used {row['peak_memory_bytes']} bytes with a limit of {limits['memory_bytes']}"
        if row.get("artifact_count", 0) > limits.get("artifact_count", 0):
            yield f"{row['artifact_count']} artifacts, more than the limit"
    most = (seen.execution.get("limits") or {}).get("artifact_bytes", 0)
    yield from (f"artifact {it.name!r} is larger than the limit" for it in seen.served if len(it.content) > most)


def readable(case: Case, seen: Evidence) -> Iterator[str]:
    if seen.stored and not seen.is_listed:
        yield "the list of executions with its large fields cannot be read"


def safely_served(case: Case, seen: Evidence) -> Iterator[str]:
    for file in seen.served:
        headers = {name.lower(): value for name, value in file.headers.items()}
        if file.status != 200:
            yield f"artifact {file.name!r} is answered with {file.status}"
            continue
        if not headers.get("content-disposition", "").startswith("attachment"):
            yield f"artifact {file.name!r} is not sent as an attachment: a browser would run it"
        if headers.get("x-content-type-options") != "nosniff":
            yield f"artifact {file.name!r} is sent without nosniff"
        if not headers.get("content-type", "").startswith(INERT):
            yield f"artifact {file.name!r} is sent as {headers.get('content-type')}"
        if "set-cookie" in headers:
            yield f"artifact {file.name!r} sets a header"


def kept_to_itself(case: Case, seen: Evidence) -> Iterator[str]:
    """No text that is forbidden, and no trace of the first program in the second's look."""
    texts = seen.texts()
    yield from (f"{text!r} was read from the sandbox's system" for text in case.forbidden if text in texts)
    if len(seen.stored) > 1:
        first, second = seen.stored
        said = second.get("stdout") or ""
        if "SEEN" in said or seen.marker in said:
            yield f"the second sandbox shows a trace of the first: {said[:200]!r}"
        if first.get("sandbox_id") == second.get("sandbox_id"):
            yield "both ran in the same sandbox"
        if case.differs and _drawn(first) & _drawn(second):
            yield f"two sandboxes drew the same: {' '.join(_drawn(second))}"


def _drawn(row: dict[str, Any]) -> set[str]:
    return set((row.get("stdout") or "").splitlines()) - {"tried", "looked", ""}


def alive(case: Case, seen: Evidence) -> Iterator[str]:
    """The best of several tries counts: others use the machine, too."""
    if not seen.health_s or min(seen.health_s) >= SLOW_S:
        yield f"/healthz was not answered within a second: {seen.health_s}"
    if case.is_greedy and min(seen.others_s, default=float("inf")) == float("inf"):
        yield "another client was not served"


def host_is_unchanged(case: Case, seen: Evidence) -> Iterator[str]:
    if host := seen.host:
        yield from host.changes()
        yield from host.visitors_since(seen.began)
        yield from host.traces_of(seen.marker)
        if seen.is_open:
            yield f"port {case.listens} of the program is open on the host"


def host_keeps_its_secrets(case: Case, seen: Evidence) -> Iterator[str]:
    if seen.host:
        texts = seen.texts()
        yield from (f"the program printed {what}" for what, text in seen.host.secrets().items() if text in texts)


def kernel_limits(case: Case, seen: Evidence) -> Iterator[str]:
    """What the host's kernel held the sandboxes to, and where it had put them."""
    for row in seen.stored:
        sample = seen.host.samples.get(row.get("sandbox_id") or "") if seen.host else None
        if sample is None:
            continue
        asked = row["limits"]["memory_bytes"]
        if sample.memory_limit and sample.memory_limit > asked:
            yield f"the kernel's memory limit is {sample.memory_limit}, the run's {asked}"
        if sample.peak_memory > asked + BATCHED:
            yield f"the host counted {sample.peak_memory} bytes with a limit of {asked}"
        if not sample.most_pids and sample.pids:
            yield "the kernel limits no processes"
        if sample.most_pids and sample.pids > sample.most_pids:
            yield f"{sample.pids} processes of the host, more than {sample.most_pids}"
        if row.get("network", "none") == "none" and (sample.is_in_hosts_network or sample.interfaces - {"lo"}):
            yield f"the sandbox has a network: {', '.join(sample.interfaces)}"


BY_API: tuple[Judge, ...] = (
    answered, ended, tried, expected, within_stored_limits, readable, safely_served, kept_to_itself, alive,
)  # fmt: skip
ON_HOST: tuple[Judge, ...] = (host_is_unchanged, host_keeps_its_secrets, kernel_limits)


def complaints(case: Case, seen: Evidence) -> list[str]:
    """Return what does not hold; [] if everything does."""
    if case.is_refused and seen.answer.status in ACCEPTED:
        return ["the request was accepted"]
    judges = BY_API + (ON_HOST if seen.host else ())
    return [complaint for judge in judges for complaint in judge(case, seen)]
