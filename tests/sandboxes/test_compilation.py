"""The compile step as the session sees it: its own limits first, the program's afterwards."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sandboxes.docker_engine import DockerChannel
from sandboxes.session import TICK_S, EndedBy, Report, Session
from tests.sandboxes.guest import LIMITS, job
from tests.sandboxes.runner import CONTAINER, Runner, frame
from tests.sandboxes.test_session import Counters, X, run

__all__ = ["run"]

Run = Callable[..., Report]
SHORT = replace(LIMITS, compile_wall_ms=300)


def compiled(exit_code: int) -> bytes:
    return frame(b"C", b'{"exit_code": %d}' % exit_code)


def test_session_reports_how_the_compilation_ended(run: Run) -> None:
    report = run(compiled(1) + X, compiles=True)
    assert (report.compile_status, report.compiling, report.ended_by) == (1, False, EndedBy.RUNNER)


def test_compilation_that_outlives_its_wall_time_is_ended(run: Run) -> None:
    report = run(frame(b"E", b"busy"), limits=SHORT, compiles=True)
    assert (report.ended_by, report.compiling) == (EndedBy.WALL_TIME, True)


def test_program_has_its_own_wall_time_after_the_compilation(run: Run) -> None:
    report = run(compiled(0), limits=replace(LIMITS, compile_wall_ms=60_000, wall_time_ms=300), compiles=True)
    assert (report.ended_by, report.compiling) == (EndedBy.WALL_TIME, False)


def test_second_end_of_a_compilation_is_a_protocol_error(run: Run) -> None:
    assert run(compiled(0) + compiled(0) + X, compiles=True).ended_by is EndedBy.PROTOCOL


def test_end_of_a_compilation_that_nobody_asked_for_is_a_protocol_error(run: Run) -> None:
    assert run(compiled(0) + X).ended_by is EndedBy.PROTOCOL


def test_cpu_time_of_the_compilation_is_limited_by_itself(
    ends: tuple[Runner, DockerChannel], cgroups: Path
) -> None:
    runner, channel = ends
    counters = Counters(cgroups)
    counters.set(cpu_ms=1000)

    def play() -> None:
        runner.sock.recv(1 << 16)
        counters.set(cpu_ms=1301)

    threading.Thread(target=play).start()
    limits = replace(LIMITS, cpu_time_ms=60_000, compile_cpu_ms=300)
    report = Session(channel, CONTAINER, limits, compiles=True).run(job("code"))
    assert (report.ended_by, report.compiling) == (EndedBy.CPU_TIME, True)


def test_cpu_time_of_the_compilation_is_not_the_programs(
    ends: tuple[Runner, DockerChannel], cgroups: Path
) -> None:
    runner, channel = ends
    counters = Counters(cgroups)
    counters.set(cpu_ms=1000)

    def play() -> None:
        runner.sock.recv(1 << 16)
        counters.set(cpu_ms=1500)
        runner.say(compiled(0))
        time.sleep(2 * TICK_S)
        runner.say(X)

    threading.Thread(target=play).start()
    limits = replace(LIMITS, cpu_time_ms=100)
    report = Session(channel, CONTAINER, limits, compiles=True).run(job("code"))
    assert (report.ended_by, report.compile_cpu_ms) == (EndedBy.RUNNER, 500)
