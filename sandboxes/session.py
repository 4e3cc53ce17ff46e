"""Runs one job in one sandbox, and enforces the limits from outside, because the guest is not trusted."""

import json
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from django.utils import timezone

from runtimes.models import Limits
from sandboxes import cgroup
from sandboxes.engine import Channel, EngineError
from sandboxes.protocol import (
    TIME_IS_OVER,
    VERSION,
    WATCHED,
    End,
    Frames,
    Job,
    ProtocolError,
    parse_artifact,
    parse_compiled,
)

# Interval between measurements of CPU time; the last figures of a killed sandbox may be this old.
TICK_S = 0.2
# Slack of one frame. The runner cuts output one byte over the limit, so more output means a broken runner.
FLOOD_SLACK = 256 * 1024
# A sandbox has this long to get ready; one that goes on working towards it, several times as long.
READY_TIMEOUT_S = 60
WORKING_TIMEOUT_S = 600
# Of its CPU time in each READY_TIMEOUT_S, what tells a slow sandbox from one that hangs.
WORKING_MS = 1000
# Time for the runner to send what is there when a time limit is reached: main() may have returned before.
OVERTIME_S = 2.0
# Most programs end before this, and need no live output: the end of the run stores the same text.
LIVE_AFTER_S = 0.25


class EndedBy(Enum):
    RUNNER = "the runner reported the end"
    STREAM = "the program's stream ended, in a sandbox without a runner"
    WALL_TIME = "the wall time limit passed"
    CPU_TIME = "the host measured more CPU time than the limit"
    MEMORY = "the kernel's OOM killer ended a process of the sandbox"
    OUTPUT = "the program wrote more than the output limit"
    LOST = "the stream ended without a report"
    PROTOCOL = "the runner broke the protocol"


@dataclass
class Report:
    """What one session observed. Times are the host's."""

    started_at: datetime
    ended_at: datetime | None = None
    ended_by: EndedBy | None = None
    end: End | None = None
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    result: bytes | None = None
    artifacts: list[tuple[str, bytes]] = field(default_factory=list)
    cpu_ms: int | None = None
    peak_memory_bytes: int | None = None
    oom_killed: bool = False
    # Exit status of the compile command; None while it runs, and for runtimes without one.
    compile_status: int | None = None
    compile_cpu_ms: int = 0
    compiling: bool = False
    complaint: str = ""  # the runner's stderr, or the protocol error


def wait_until_ready(channel: Channel, container_id: str) -> None:
    """Block until the runner has sent its hello frame. Raises EngineError if none comes."""
    frames = Frames()
    complaint = b""
    patience = _Patience(container_id)
    while (left := patience.left()) > 0:
        if not select.select([channel], [], [], left)[0]:
            continue
        received = channel.receive()
        if received is None:
            raise EngineError(f"the sandbox ended before it was ready: {complaint.decode(errors='replace')}")
        stdout, stderr = received
        complaint = (complaint + stderr)[-4000:]
        try:
            for kind, payload in frames.feed(stdout):
                if kind != b"H" or not speaks_our_version(payload):
                    raise EngineError(f"the image's runner does not speak protocol {VERSION}: rebuild the image")
                return
        except ProtocolError as e:
            raise EngineError(f"the image has no runner of this platform: {e}") from e
    raise EngineError(patience.why())


class _Patience:
    """How long to wait for a sandbox: on a slow machine, as long as the host sees it work."""

    def __init__(self, container_id: str) -> None:
        self._container_id = container_id
        self._began = time.monotonic()
        self._deadline = self._began + READY_TIMEOUT_S
        self._worked_ms = 0

    def left(self) -> float:
        """Return the seconds to wait before asking again, 0 if there are none."""
        if (left := self._deadline - time.monotonic()) > 0:
            return left
        used = cgroup.usage(self._container_id)
        works = used is not None and used.cpu_ms - self._worked_ms >= WORKING_MS
        if not used or not works or self._waited() >= WORKING_TIMEOUT_S:
            return 0
        self._worked_ms = used.cpu_ms
        self._deadline = time.monotonic() + READY_TIMEOUT_S
        return READY_TIMEOUT_S

    def _waited(self) -> float:
        return time.monotonic() - self._began

    def why(self) -> str:
        slow = f", in which it used {self._worked_ms / 1000:.0f} s of CPU time" if self._worked_ms else ""
        return f"the sandbox was not ready within {self._waited():.0f} s{slow}"


def speaks_our_version(hello: bytes) -> bool:
    try:
        return bool(json.loads(hello)["protocol"] == VERSION)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


class Session:
    """One job in one claimed sandbox. `run` raises nothing for anything the guest does.

    For runs longer than LIVE_AFTER_S, `watch` is called with the growing report at each tick, and returns whether
    somebody watches the output. It must not block: no limit is enforced meanwhile.
    """

    tick_s = TICK_S

    def __init__(
        self,
        channel: Channel,
        container_id: str,
        limits: Limits,
        watch: Callable[[Report], bool] | None = None,
        *,
        compiles: bool = False,
    ) -> None:
        self._channel = channel
        self._container_id = container_id
        self._limits = limits
        self._watch = watch
        self._compiles = compiles
        self._is_watched = False
        self._deadline = 0.0
        self._over: EndedBy | None = None  # the time limit that was reached, while the runner sends what is there
        self._frames = Frames()
        self._before: cgroup.Usage | None = None

    def run(self, job: Job) -> Report:
        self._measure_before()
        report = Report(started_at=timezone.now(), compiling=self._compiles)
        allowed_ms = self._limits.compile_wall_ms if self._compiles else self._limits.wall_time_ms
        self._deadline = time.monotonic() + allowed_ms / 1000
        try:
            self._channel.send(self._opening(job))
            report.ended_by = self._until_end(report)
        except ProtocolError as e:
            report.ended_by, report.complaint = EndedBy.PROTOCOL, str(e)
        except EngineError as e:
            report.ended_by, report.complaint = EndedBy.LOST, str(e)
        report.ended_at = timezone.now()
        if report.ended_by is not EndedBy.LOST:
            self._measure(report)
            if report.oom_killed:
                report.ended_by = EndedBy.MEMORY
        return report

    def _opening(self, job: Job) -> bytes:
        return job.frame()

    def _until_end(self, report: Report) -> EndedBy:
        next_tick = time.monotonic() + self.tick_s
        live_at = time.monotonic() + LIVE_AFTER_S
        while True:
            now = time.monotonic()
            if now >= self._deadline and not self._goes_into_overtime(EndedBy.WALL_TIME, report):
                return self._over or EndedBy.WALL_TIME
            if now >= next_tick:
                next_tick = now + self.tick_s
                self._measure(report)
                if report.oom_killed:
                    return EndedBy.MEMORY
                over = not self._over and self._is_over_cpu_time(report)
                if over and not self._goes_into_overtime(EndedBy.CPU_TIME, report):
                    return EndedBy.CPU_TIME
                if self._watch and now >= live_at:
                    self._publish(report)
            if not select.select([self._channel], [], [], max(0, min(self._deadline, next_tick) - now))[0]:
                continue
            if ended_by := self._receive(report):
                return self._over or ended_by

    def _goes_into_overtime(self, limit: EndedBy, report: Report) -> bool:
        """Ask the runner to end the program. Return False if it has been asked, or if there is nothing to wait for."""
        if self._over or report.compiling or not self._ask_for_end():
            return False
        self._over = limit
        self._deadline = time.monotonic() + OVERTIME_S
        return True

    def _ask_for_end(self) -> bool:
        """Return whether somebody could be asked."""
        self._channel.send(TIME_IS_OVER)
        return True

    def _publish(self, report: Report) -> None:
        assert self._watch  # noqa: S101
        if self._watch(report) and not self._is_watched:
            self._is_watched = True
            self._ask_for_output()

    def _ask_for_output(self) -> None:
        self._channel.send(WATCHED)

    def _receive(self, report: Report) -> EndedBy | None:
        """Add received data to the report; return why the session ended, or None if it goes on."""
        received = self._channel.receive()
        if received is None:
            return EndedBy.LOST
        stdout, stderr = received
        report.complaint = (report.complaint + stderr.decode(errors="replace"))[-4000:]
        for kind, payload in self._frames.feed(stdout):
            if self._take(report, kind, payload):
                return EndedBy.RUNNER
        return None

    def _take(self, report: Report, kind: bytes, payload: bytes) -> bool:
        """Add a frame to the report; return True for the last frame."""
        match kind:
            case b"O":
                self._append(report.stdout, payload)
            case b"E":
                self._append(report.stderr, payload)
            case b"R":
                if report.result is not None or len(payload) > self._limits.result_bytes:
                    raise ProtocolError("a second result, or one over the limit")
                report.result = payload
            case b"A":
                name, content = parse_artifact(payload)
                if len(content) > self._limits.artifact_bytes:
                    raise ProtocolError(f"artifact of {len(content)} bytes")
                if len(report.artifacts) >= self._limits.artifact_count:
                    raise ProtocolError("too many artifacts")
                if any(name == taken for taken, _ in report.artifacts):
                    raise ProtocolError(f"artifact {name!r} twice")
                report.artifacts.append((name, content))
            case b"C":
                self._end_of_compilation(report, payload)
            case b"X":
                report.end = End.parse(payload)
                return True
            case _:
                raise ProtocolError(f"frame {kind!r} during a run")
        return False

    def _end_of_compilation(self, report: Report, payload: bytes) -> None:
        """Record the end of the compilation and start the clock of the program's limits."""
        if not report.compiling:
            raise ProtocolError("a compilation frame in a run without a compilation")
        report.compile_status = parse_compiled(payload)
        report.compiling = False
        self._measure(report)
        report.compile_cpu_ms = report.cpu_ms or 0
        self._deadline = time.monotonic() + self._limits.wall_time_ms / 1000

    def _is_over_cpu_time(self, report: Report) -> bool:
        if report.cpu_ms is None:
            return False
        if report.compiling:
            return report.cpu_ms > self._limits.compile_cpu_ms
        return report.cpu_ms - report.compile_cpu_ms > self._limits.cpu_time_ms

    def _append(self, kept: bytearray, data: bytes) -> None:
        kept += data
        if len(kept) > self._limits.output_bytes + FLOOD_SLACK:
            raise ProtocolError("output far over the limit")

    def _measure_before(self) -> None:
        self._before = cgroup.usage(self._container_id)

    def _measure(self, report: Report) -> None:
        used = cgroup.usage(self._container_id)
        if used and self._before:
            report.cpu_ms = used.cpu_ms - self._before.cpu_ms
            report.peak_memory_bytes = used.peak_memory_bytes
            # The OOM killer may hit another process than the first: then gVisor hangs, or the program ends silently.
            report.oom_killed = used.oom_kills > self._before.oom_kills
