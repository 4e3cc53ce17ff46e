"""The session against a runner that the test plays itself, over a pair of sockets."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtimes.models import Limits
from sandboxes import session
from sandboxes.docker_engine import DockerChannel
from sandboxes.session import FLOOD_SLACK, EndedBy, Report, Session
from tests.sandboxes.guest import LIMITS, job
from tests.sandboxes.runner import CONTAINER, Runner, frame

END = {
    "exit_code": 0,
    "signal": None,
    "stdout_bytes": 0,
    "stderr_bytes": 0,
    "result_bytes": None,
    "cold": False,
    "dropped": [],
}


def artifact(name: str, content: bytes) -> bytes:
    return frame(b"A", len(name).to_bytes(2, "big") + name.encode() + content)


X = frame(b"X", json.dumps(END).encode())


@pytest.fixture
def run(ends: tuple[Runner, DockerChannel]) -> Iterator[Callable[..., Report]]:
    """What a session reports when the runner says `said`, and then leaves if told so."""
    runner, channel = ends
    threads = []

    def play(said: bytes, limits: Limits, leave: bool) -> None:
        try:
            runner.say(said)
            if leave:
                runner.leave()
        except OSError:
            pass  # the session has hung up

    def run(said: bytes = b"", *, limits: Limits = LIMITS, leave: bool = False, compiles: bool = False) -> Report:
        thread = threading.Thread(target=play, args=(said, limits, leave))
        threads.append(thread)
        thread.start()
        return Session(channel, CONTAINER, limits, compiles=compiles).run(job("code"))

    yield run
    channel._sock.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()


Run = Callable[..., Report]


def test_session_ends_with_the_end_frame(run: Run) -> None:
    report = run(frame(b"O", b"out") + frame(b"E", b"err") + frame(b"R", b"1") + artifact("a.txt", b"x") + X)
    assert report.ended_by is EndedBy.RUNNER
    assert (report.stdout, report.stderr, report.result, report.artifacts) == (
        b"out", b"err", b"1", [("a.txt", b"x")],
    )  # fmt: skip


def test_session_hands_over_the_job(ends: tuple[Runner, DockerChannel]) -> None:
    runner, channel = ends
    runner.say(X)
    Session(channel, CONTAINER, LIMITS).run(job("code"))
    assert runner.sock.recv(1 << 16) == job("code").frame()


def test_session_hears_nothing_after_the_end(run: Run) -> None:
    assert run(X + frame(b"O", b"more")).stdout == b""


def test_session_that_outlives_its_wall_time_is_ended(run: Run) -> None:
    report = run(frame(b"O", b"out"), limits=replace(LIMITS, wall_time_ms=300))
    assert (report.ended_by, report.stdout) == (EndedBy.WALL_TIME, b"out")


def test_session_is_ended_though_the_runner_keeps_talking(ends: tuple[Runner, DockerChannel]) -> None:
    runner, channel = ends
    done = threading.Event()

    def chatter() -> None:
        while not done.wait(0.01):
            runner.say(frame(b"E"))

    thread = threading.Thread(target=chatter)
    thread.start()
    report = Session(channel, CONTAINER, replace(LIMITS, wall_time_ms=300)).run(job("code"))
    done.set()
    thread.join()
    assert report.ended_by is EndedBy.WALL_TIME


def test_stream_that_ends_without_a_report_is_a_lost_sandbox(run: Run) -> None:
    report = run(frame(b"O", b"out"), leave=True)
    assert (report.ended_by, report.stdout) == (EndedBy.LOST, b"out")


def test_sandbox_that_is_gone_before_the_job_is_lost(ends: tuple[Runner, DockerChannel]) -> None:
    runner, channel = ends
    runner.sock.close()
    assert Session(channel, CONTAINER, LIMITS).run(job("code")).ended_by is EndedBy.LOST


SMALL = replace(LIMITS, output_bytes=10, result_bytes=10, artifact_bytes=10, artifact_count=2)
PROTOCOL_ERRORS = {
    "flood of stdout": frame(b"O", bytes(11 + FLOOD_SLACK)),
    "flood of stderr": frame(b"E", bytes(11 + FLOOD_SLACK)),
    "second result": frame(b"R", b"1") * 2,
    "result over the limit": frame(b"R", bytes(11)),
    "artifact over the limit": artifact("a.txt", bytes(11)),
    "too many artifacts": artifact("a.txt", b"x") + artifact("b.txt", b"x") + artifact("c.txt", b"x"),
    "the same artifact twice": artifact("a.txt", b"x") * 2,
    "artifact with a path": artifact("../a.txt", b"x"),
    "second hello": frame(b"H"),
    "unknown frame": frame(b"?"),
    "the platform's own frame": frame(b"J"),
    "end without fields": frame(b"X", b"{}"),
    "oversize frame": b"O\xff\xff\xff\xff",
}


@pytest.mark.parametrize("said", PROTOCOL_ERRORS.values(), ids=PROTOCOL_ERRORS)
def test_runner_that_breaks_the_protocol_ends_the_session(run: Run, said: bytes) -> None:
    report = run(said + X, limits=SMALL)
    assert (report.ended_by, bool(report.complaint)) == (EndedBy.PROTOCOL, True)


def test_what_is_just_within_the_limits_is_taken(run: Run) -> None:
    said = frame(b"O", bytes(11)) + frame(b"R", bytes(10)) + artifact("a", bytes(10)) + artifact("b", bytes(10))
    assert run(said + X, limits=SMALL).ended_by is EndedBy.RUNNER


def test_runners_own_stderr_is_kept_as_its_complaint(ends: tuple[Runner, DockerChannel]) -> None:
    runner, channel = ends
    runner.say(b"Traceback", stream=2)
    runner.leave()
    assert Session(channel, CONTAINER, LIMITS).run(job("code")).complaint == "Traceback"


class Counters:
    """A sandbox's cgroup in files."""

    def __init__(self, root: Path) -> None:
        self.cpu = root / "cpuacct/docker" / CONTAINER / "cpuacct.usage"
        self.peak = root / "memory/docker" / CONTAINER / "memory.max_usage_in_bytes"
        self.oom = self.peak.with_name("memory.oom_control")
        for path in (self.cpu, self.peak):
            path.parent.mkdir(parents=True)
        self.set()

    def set(self, cpu_ms: int = 1000, peak: int = 1, oom_kills: int = 0) -> None:
        files = {self.cpu: cpu_ms * 1_000_000, self.peak: peak, self.oom: f"oom_kill {oom_kills}"}
        for path, text in files.items():
            # As with the kernel's, nobody sees an empty one.
            whole = path.with_suffix(".new")
            whole.write_text(f"{text}\n")
            whole.replace(path)


@pytest.fixture
def counters(cgroups: Path) -> Counters:
    return Counters(cgroups)


def test_usage_is_what_the_run_added(ends: tuple[Runner, DockerChannel], counters: Counters) -> None:
    runner, channel = ends

    def play() -> None:
        runner.sock.recv(1 << 16)  # the job
        counters.set(cpu_ms=1250, peak=4096)
        runner.say(X)

    thread = threading.Thread(target=play)
    thread.start()
    report = Session(channel, CONTAINER, LIMITS).run(job("code"))
    thread.join()
    assert (report.ended_by, report.cpu_ms, report.peak_memory_bytes) == (EndedBy.RUNNER, 250, 4096)


@pytest.mark.parametrize(
    ("change", "ended_by"),
    [({"cpu_ms": 1101}, EndedBy.CPU_TIME), ({"oom_kills": 1}, EndedBy.MEMORY)],
    ids=["CPU time", "memory"],
)
def test_what_the_hosts_kernel_counts_ends_a_silent_run(
    ends: tuple[Runner, DockerChannel], counters: Counters, change: dict[str, int], ended_by: EndedBy
) -> None:
    runner, channel = ends

    def play() -> None:
        runner.sock.recv(1 << 16)
        counters.set(**change)

    thread = threading.Thread(target=play)
    thread.start()
    report = Session(channel, CONTAINER, replace(LIMITS, cpu_time_ms=100)).run(job("code"))
    thread.join()
    assert report.ended_by is ended_by


def test_memory_that_the_kernel_took_back_counts_though_the_runner_reports_an_end(
    ends: tuple[Runner, DockerChannel], counters: Counters
) -> None:
    runner, channel = ends

    def play() -> None:
        runner.sock.recv(1 << 16)
        counters.set(oom_kills=1)
        runner.say(X)

    thread = threading.Thread(target=play)
    thread.start()
    report = Session(channel, CONTAINER, LIMITS).run(job("code"))
    thread.join()
    assert report.ended_by is EndedBy.MEMORY


def test_usage_without_a_visible_cgroup_is_unknown(run: Run) -> None:
    assert run(X).cpu_ms is None


# --- Watching ---


def test_a_short_run_is_not_watched(ends: tuple[Runner, DockerChannel]) -> None:
    runner, channel = ends
    seen: list[Report] = []
    runner.say(frame(b"O", b"out") + X)
    Session(channel, CONTAINER, LIMITS, seen.append).run(job("code"))
    assert seen == []


def test_a_longer_run_is_watched_while_it_goes_on(ends: tuple[Runner, DockerChannel]) -> None:
    runner, channel = ends
    seen: list[bytes] = []
    runner.say(frame(b"O", b"out"))

    def watch(report: Report) -> None:
        seen.append(bytes(report.stdout))
        if len(seen) == 2:
            runner.say(X)

    Session(channel, CONTAINER, LIMITS, watch).run(job("code"))
    assert seen == [b"out", b"out"]


# -- time limits and watchers -------------------------------------------------------------------------------

AT_ONCE = replace(LIMITS, wall_time_ms=1)


def sent_before_the_end(
    ends: tuple[Runner, DockerChannel], limits: Limits, answers: dict[bytes, bytes], **watch: Any
) -> tuple[Report, list[bytes]]:
    """What a session reports, and the frames after its job, of a runner that answers to these frames."""
    runner, channel = ends
    seen: list[bytes] = []

    def play() -> None:
        file = runner.sock.makefile("rb")
        while header := file.read(5):
            file.read(int.from_bytes(header[1:], "big"))
            if header[:1] != b"J":
                seen.append(header[:1])
            if answer := answers.get(header[:1]):
                runner.say(answer)

    thread = threading.Thread(target=play)
    thread.start()
    report = Session(channel, CONTAINER, limits, **watch).run(job("code"))
    channel._sock.shutdown(socket.SHUT_RDWR)
    thread.join()
    return report, seen


def test_result_that_is_there_at_the_time_limit_is_kept(ends: tuple[Runner, DockerChannel]) -> None:
    report, seen = sent_before_the_end(ends, AT_ONCE, {b"T": frame(b"R", b"1") + X})
    assert (report.ended_by, report.result, seen) == (EndedBy.WALL_TIME, b"1", [b"T"])


def test_runner_that_does_not_answer_at_the_time_limit_is_not_waited_for(
    ends: tuple[Runner, DockerChannel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "OVERTIME_S", 0.1)
    report, seen = sent_before_the_end(ends, AT_ONCE, {})
    assert (report.ended_by, report.result, seen) == (EndedBy.WALL_TIME, None, [b"T"])


def test_runner_is_told_once_that_somebody_watches(ends: tuple[Runner, DockerChannel]) -> None:
    looks = iter([False, True])
    _, seen = sent_before_the_end(
        ends, replace(LIMITS, wall_time_ms=1500), {b"T": X}, watch=lambda report: next(looks, True)
    )
    assert seen == [b"W", b"T"]
