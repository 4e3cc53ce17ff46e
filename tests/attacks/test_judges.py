"""Each judge notices the fault that it is for, and says nothing of a run without one."""

import time
from dataclasses import replace
from typing import Any

import pytest

from attacks import judges
from attacks.client import Answer, Served
from attacks.corpus import Case
from attacks.host import Sample
from attacks.judges import Evidence, complaints

CASE = Case("escapes", "one", "It holds.", runtime="python", program="print('tried')", expect={"exit_code": 0})
LIMITS = {
    "wall_time_ms": 1000, "memory_bytes": 1000, "output_bytes": 100, "result_bytes": 100, "artifact_count": 1,
    "artifact_bytes": 10,
}  # fmt: skip
ROW = {
    "id": "1", "status": "succeeded", "outcome": "completed", "message": "", "exit_code": 0, "stdout": "tried\n",
    "stderr": "", "result": None, "limits": LIMITS, "duration_ms": 10.0, "peak_memory_bytes": 500, "artifact_count": 0,
    "sandbox_id": "s1", "network": "none",
}  # fmt: skip
LOOK = {**ROW, "id": "2", "sandbox_id": "s2", "stdout": "looked\n"}
SAFE = {
    "Content-Disposition": 'attachment; filename="x"',
    "X-Content-Type-Options": "nosniff",
    "Content-Type": "text/csv",
}


class QuietHost:
    """A host on which nothing happened, but for what a test says."""

    def __init__(self, **said: Any) -> None:
        self.samples: dict[str, Sample] = said.pop("samples", {})
        self._said = said

    def changes(self) -> list[str]:
        return list(self._said.get("changes", []))

    def visitors_since(self, began: float) -> list[str]:
        return list(self._said.get("visitors", []))

    def traces_of(self, marker: str) -> list[str]:
        return list(self._said.get("traces", []))

    def secrets(self) -> dict[str, str]:
        return {"the canary": "0123456789abcdef"}


def evidence(*rows: dict[str, Any], **fields: Any) -> Evidence:
    seen = Evidence(
        "m1", time.time(), Answer(201, {}, {}), list(rows) or [dict(ROW)], health_s=[0.01], others_s=[0.2]
    )
    return replace(seen, **fields)


def test_nothing_is_said_of_a_run_that_holds() -> None:
    sample = Sample(pids=10, most_pids=100, memory_limit=1000, peak_memory=500, interfaces=frozenset({"lo"}))
    assert complaints(CASE, evidence(host=QuietHost(samples={"s1": sample}))) == []


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a fault of the platform": ({"status": "platform_error"}, "ended as platform_error"),
    "another end than allowed": ({"status": "failed"}, "not succeeded"),
    "no end": ({"status": "running"}, "has not ended"),
    "an attack that did not take place": ({"stdout": ""}, "did not take place"),
    "another exit status": ({"exit_code": 3}, "exit_code is 3"),
    "too much output": ({"stdout": "tried" + "x" * 200}, "more than the limit"),
    "too large a result": ({"result": "x" * 1000}, "the result is larger"),
    "too long a run": ({"duration_ms": 60_000.0}, "it ran for 60000 ms"),
    "too much memory": ({"peak_memory_bytes": 2 << 20}, "it used 2097152 bytes"),
    "too many files": ({"artifact_count": 2}, "2 artifacts"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_stored_run_is_named(fault: str) -> None:
    changed, said = FAULTS[fault]
    assert said in "; ".join(complaints(CASE, evidence(ROW | changed)))


ON_HOST: dict[str, tuple[dict[str, Any], str]] = {
    "a changed host": ({"changes": ["/etc/passwd changed on the host"]}, "/etc/passwd changed"),
    "a visitor of a trap": ({"visitors": ["the trap TCP was reached"]}, "the trap TCP"),
    "a process on the host": ({"traces": ["process 7 of the host"]}, "process 7"),
    "a memory limit above the run's": (
        {"samples": {"s1": Sample(memory_limit=9999)}},
        "the kernel's memory limit is 9999",
    ),
    "more memory than allowed": ({"samples": {"s1": Sample(peak_memory=2 << 20)}}, "the host counted 2097152"),
    "more processes than allowed": (
        {"samples": {"s1": Sample(pids=11, most_pids=10)}},
        "11 processes of the host",
    ),
    "a network": ({"samples": {"s1": Sample(interfaces=frozenset({"lo", "eth0"}))}}, "has a network"),
    "the host's own network": ({"samples": {"s1": Sample(is_in_hosts_network=True)}}, "has a network"),
}


@pytest.mark.parametrize("fault", ON_HOST)
def test_what_the_host_saw_is_named(fault: str) -> None:
    said, wanted = ON_HOST[fault]
    assert wanted in "; ".join(complaints(CASE, evidence(host=QuietHost(**said))))


def test_a_secret_of_the_host_in_the_output_is_named() -> None:
    leaked = ROW | {"stderr": "0123456789abcdef"}
    assert "printed the canary" in "; ".join(complaints(CASE, evidence(leaked, host=QuietHost())))


def test_a_secret_of_the_host_in_a_file_is_named() -> None:
    file = Served("x.csv", 200, b"0123456789abcdef", SAFE)
    case = replace(CASE, expect={})
    row = ROW | {"limits": LIMITS | {"artifact_bytes": 100}}
    assert "printed the canary" in "; ".join(complaints(case, evidence(row, served=[file], host=QuietHost())))


@pytest.mark.parametrize(
    ("look", "said"),
    [
        ({"stdout": "SEEN /tmp/m1\nlooked\n"}, "a trace of the first"),
        ({"sandbox_id": "s1"}, "same sandbox"),
        ({"stdout": ""}, "look at the next sandbox did not take place"),
        ({"status": "failed"}, "not succeeded"),
    ],
)
def test_a_trace_of_the_run_before_is_named(look: dict[str, Any], said: str) -> None:
    assert said in "; ".join(complaints(CASE, evidence(ROW, LOOK | look)))


def test_equal_random_numbers_are_named() -> None:
    case = replace(CASE, differs=True)
    same = evidence(ROW | {"stdout": "tried\n0.5\n"}, LOOK | {"stdout": "0.5\nlooked\n"})
    assert "drew the same" in "; ".join(complaints(case, same))
    other = evidence(ROW | {"stdout": "tried\n0.5\n"}, LOOK | {"stdout": "0.6\nlooked\n"})
    assert complaints(case, other) == []


@pytest.mark.parametrize("missing", SAFE)
def test_a_file_that_a_browser_would_run_is_named(missing: str) -> None:
    unsafe = Served("x", 200, b"x", {name: value for name, value in SAFE.items() if name != missing})
    assert list(judges.safely_served(CASE, evidence(served=[unsafe])))
    assert list(judges.safely_served(CASE, evidence(served=[Served("x", 200, b"x", SAFE)]))) == []


def test_files_are_those_that_are_expected() -> None:
    case = replace(CASE, expect={"artifacts": ["own.txt"]})
    file = Served("passwd", 200, b"x", SAFE)
    assert "artifacts is ['passwd']" in "; ".join(complaints(case, evidence(served=[file])))


def test_a_request_that_must_be_refused_and_is_not_is_named() -> None:
    case = Case("parsers", "one", "It is refused.", request="{", answers=(400,))
    assert complaints(case, evidence(answer=Answer(201, {}, {}))) == ["the request was accepted"]
    wrong = Evidence("m1", 0, Answer(500, "oops", {}), health_s=[0.01])
    assert "answered with 500" in complaints(case, wrong)[0]


def test_a_platform_that_serves_nobody_else_meanwhile_is_named() -> None:
    assert "/healthz" in "; ".join(complaints(CASE, evidence(health_s=[1.5, 2.0])))
    assert complaints(CASE, evidence(health_s=[5.0, 0.1])) == []
    greedy = replace(CASE, family="resources")
    assert "another client was not served" in complaints(greedy, evidence(others_s=[]))
    assert complaints(CASE, evidence(others_s=[])) == []
