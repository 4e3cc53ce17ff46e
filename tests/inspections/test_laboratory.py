"""Sandboxes of inspections without Docker: whatever a runtime is, they are spoken to as its runs are."""

import json
import socket
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from executions.models import Status
from executions.programs import job_of
from inspections import caller, laboratory, probing, studies
from inspections.laboratory import Laboratory
from inspections.models import Inspection
from runtimes.models import Runner, Runtime
from sandboxes.configuration import SandboxConfiguration
from sandboxes.engine import Channel, ContainerState
from tests.sandboxes.stub_engine import StubEngine

HELLO: dict[str, Any] = {"name": "hello", "code": "say hello", "expect": {"stdout": "hello\n"}}
END = {
    "exit_code": 0, "signal": None, "stdout_bytes": 6, "stderr_bytes": 0, "result_bytes": None,
    "cold": False, "dropped": [],
}  # fmt: skip


def frame(kind: bytes, payload: bytes) -> bytes:
    return kind + len(payload).to_bytes(4, "big") + payload


def chunk(data: bytes) -> bytes:
    """As Docker's stream carries standard output."""
    return b"\1\0\0\0" + len(data).to_bytes(4, "big") + data


COMPILED = frame(b"C", json.dumps({"exit_code": 0}).encode())
SAID = frame(b"O", b"hello\n") + frame(b"X", json.dumps(END).encode())


class Guests(StubEngine):
    """Each sandbox answers its job with `says`, and leaves if it has no runner."""

    def __init__(self, says: bytes, *, leaves: bool = False, exit_code: int = 0) -> None:
        super().__init__()
        self.says, self.leaves, self.exit_code = says, leaves, exit_code
        self.heard: list[bytes] = []

    def attach(self, container_id: str) -> Channel:
        channel = super().attach(container_id)
        sock = self.here[container_id].sockets[-1]
        threading.Thread(target=self._answer, args=[sock], daemon=True).start()
        return channel

    def _answer(self, sock: socket.socket) -> None:
        job = b""
        with suppress(OSError):  # it was only started, and is removed
            job = sock.recv(1 << 16)
        if not job:
            return
        self.heard.append(job)
        sock.sendall(chunk(self.says))
        if self.leaves:
            sock.shutdown(socket.SHUT_RDWR)

    def state_after_end(self, container_id: str) -> ContainerState:
        return ContainerState(running=False, exit_code=self.exit_code, oom_killed=False)


@pytest.fixture(autouse=True)
def no_cgroups(settings: Settings, tmp_path: Path) -> None:
    settings.SANDBOX_CGROUP_ROOT = tmp_path


def of(engine: StubEngine, inspection: Inspection, **fields: Any) -> Laboratory:
    runtime = Runtime.objects.create(
        slug="tried", name="Tried", image="image", **{"source_file": "main.c", "modes": ["script"]} | fields
    )
    return Laboratory.of(engine, inspection, SandboxConfiguration.of_runtime(runtime))


COMPILES = {
    "runner": Runner.UNIVERSAL,
    "compile_command": "cc -o {program} {source}",
    "run_command": "{program}",
}
SHELL = {"runner": Runner.SHELL, "run_command": "/bin/sh {source}", "source_file": "main.sh"}


def test_a_compiled_program_is_run(inspection: Inspection) -> None:
    tried = of(Guests(COMPILED + SAID), inspection, **COMPILES)
    observed = tried.run(job_of(HELLO, tried.runtime, tried.limits), None)
    assert observed.verdict is not None
    assert observed.verdict.status == Status.SUCCEEDED, observed.verdict.message


def test_a_profile_does_not_break_a_compiled_runtime(inspection: Inspection) -> None:
    tried = of(Guests(COMPILED + SAID), inspection, **COMPILES)
    assert [result["complaint"] for result in probing.try_programs(tried, None, [HELLO])] == [""]


@pytest.mark.parametrize(("exit_code", "status"), [(0, Status.SUCCEEDED), (3, Status.FAILED)])
def test_a_shell_is_told_the_program_and_docker_says_how_it_ended(
    inspection: Inspection, exit_code: int, status: str
) -> None:
    engine = Guests(b"hello\n", leaves=True, exit_code=exit_code)
    tried = of(engine, inspection, **SHELL)
    observed = tried.run(job_of(HELLO, tried.runtime, tried.limits), None)
    assert observed.report is not None
    assert observed.verdict is not None
    assert (observed.report.stdout, observed.verdict.status) == (b"hello\n", status)
    assert b"printf 'say hello'" in engine.heard[0]


def test_calls_are_not_tried_as_nobody_where_capabilities_do_not_matter(
    inspection: Inspection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EPERM would be the answer to mount, whatever the filter."""
    monkeypatch.setattr(laboratory.platform, "machine", lambda: caller.MACHINE)
    monkeypatch.setattr(caller, "program", lambda _calls: b"program")
    monkeypatch.setattr(laboratory, "CALLS_S", 0)
    engine = StubEngine()
    tried = of(engine, inspection, **SHELL)
    for capable in (True, False):
        tried.ask([caller.Call.harmless("mount")], None, capable=capable)
    assert [(spec.capable, spec.as_nobody) for spec in engine.created] == [(True, False), (False, True)]


def test_a_traced_run_has_more_time_for_each_step(inspection: Inspection) -> None:
    tried = of(Guests(b""), inspection, **COMPILES)
    tried = tried.under(
        replace(tried.limits, wall_time_ms=1, cpu_time_ms=2, compile_wall_ms=1000, compile_cpu_ms=300_000)
    )
    traced = tried.for_traced()
    assert (traced.wall_time_ms, traced.cpu_time_ms) == (4, 8)
    assert (traced.compile_wall_ms, traced.compile_cpu_ms) == (4000, laboratory.LONGEST_TRACED_MS)


# --- Whose programs ---


def test_the_programs_of_the_row_are_tried_and_no_others(inspection: Inspection) -> None:
    edited = {"name": "edited", "code": "x", "expect": {"stdout": "hello\n"}}
    fails = {"name": "fails", "code": "x", "expect": {"status": "failed"}}
    inspection.runtime = Runtime.objects.create(
        slug="python", name="Python", image="image", source_file="main.py", smoke=[edited, fails]
    )
    _, details = studies.probe(Guests(SAID), inspection)
    assert details["programs"] == {"tried": ["edited"], "broken": []}
    tried = studies.of_runtime(Guests(SAID), inspection)
    assert [sample.name for sample in studies.samples_of(tried, inspection)] == ["edited"]


def test_all_that_is_expected_is_compared(inspection: Inspection) -> None:
    tried = of(Guests(SAID), inspection)
    program = HELLO | {"expect": {"exit_code": 1, "stderr": "warning"}}
    (result,) = probing.try_programs(tried, None, [program])
    assert result["complaint"] == 'exit_code is 0, not 1; stderr is "", not "warning"'


def test_a_program_has_its_own_limits(inspection: Inspection) -> None:
    engine = Guests(SAID)
    tried = of(engine, inspection)
    list(probing.try_programs(tried, None, [HELLO | {"limits": {"wall_time_ms": 1234}}]))
    assert engine.created[0].limits.wall_time_ms == 1234


def test_without_programs_a_probe_says_that_it_only_started_a_sandbox(inspection: Inspection) -> None:
    inspection.runtime = Runtime.objects.create(slug="python", name="Python", image="i", source_file="main.py")
    engine = Guests(SAID)
    _, details = studies.probe(engine, inspection)
    assert details["programs"] == {"tried": [], "broken": []}
    assert probing.NO_PROGRAMS in details["summary"]
    assert (len(engine.created), engine.heard) == (1, [])
