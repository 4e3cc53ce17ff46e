"""Sandboxes for inspections. Each runs one program or one list of system calls, and is then removed."""

import logging
import platform
import select
import time
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any

from executions.verdict import Verdict, decide
from inspections import caller
from inspections.caller import Call
from inspections.models import Inspection, InspectionState
from runtimes.models import Limits, Network, Runtime
from sandboxes import doors, tracing
from sandboxes.configuration import SandboxConfiguration
from sandboxes.engine import Channel, Engine, EngineError, SandboxSpec
from sandboxes.layout import KIND_LABEL, ROW_LABEL
from sandboxes.models import Sandbox
from sandboxes.protocol import BYE, Job
from sandboxes.session import EndedBy, Report, wait_until_ready
from sandboxes.sessions import session_of, state_of
from sandboxes.tracing import Trace
from seccomp_profiles.models import docker_value

logger = logging.getLogger(__name__)

# Not the pool's kind: the keeper would remove such a container as a stray.
KIND = "inspection"
GOODBYE_S = 2
CALLS_S = 20.0
# Tracing slows a program down, because gVisor logs each call: a loop of system calls takes nine times as long.
TRACED_TIMES = 4
LONGEST_TRACED_MS = 600_000
STRETCHED = ("wall_time_ms", "cpu_time_ms", "compile_wall_ms", "compile_cpu_ms")
KILLED = 128


class Cancelled(Exception):
    """The inspection was cancelled, or marked as failed because its worker seemed dead."""


@dataclass(frozen=True)
class Observation:
    """The result of one run: report, verdict, start error and trace."""

    report: Report | None
    verdict: Verdict | None
    start_error: str = ""
    trace: Trace | None = None


@dataclass(frozen=True)
class Answers:
    """Return values of the calls made in one sandbox. There are fewer values than calls if the sandbox was killed."""

    values: list[int]
    killed: bool


@dataclass(frozen=True)
class Laboratory:
    """The configuration that an inspection's sandboxes share: a runtime's current one, or that of an execution."""

    engine: Engine
    inspection: Inspection | None  # None: of a command, which nobody cancels
    runtime: Runtime
    spec: SandboxSpec

    @classmethod
    def of(
        cls, engine: Engine, inspection: Inspection | None, configuration: SandboxConfiguration
    ) -> "Laboratory":
        """Return the laboratory for a configuration. Raises EngineError, for example if the image is missing."""
        image_id = engine.image_id(configuration.image)
        # Sandboxes start like those of the runtime's runs, with a door if those have one. This door leads nowhere.
        configuration = replace(configuration, network=configuration.runtime.network)
        door = doors.make(None) if configuration.network == Network.EGRESS else ""
        spec = configuration.spec(Sandbox(image_id=image_id), door)
        labels = {KIND_LABEL: KIND, ROW_LABEL: str(inspection.pk if inspection else "")}
        return cls(engine, inspection, configuration.runtime, replace(spec, labels=labels))

    @property
    def limits(self) -> Limits:
        return self.spec.limits

    def run(self, job: Job | None, rules: dict[str, Any] | None, *, traced: bool = False) -> Observation:
        """Run the job in a fresh sandbox under the rules. Without a job, the sandbox is only started.

        Raises Cancelled, and EngineError for failures that are not the program's.
        """
        self._check()
        limits = self.for_traced() if traced else self.limits
        with tracing.reading() if traced else nullcontext() as reader:
            trace_to = str(reader.path) if reader else ""
            spec = replace(self.spec, seccomp=docker_value(rules), limits=limits, trace_to=trace_to)
            container = self.engine.create(spec)
            try:
                channel = self.engine.attach(container)
                with closing(channel):
                    observed = self._job(channel, container, limits, job)
            finally:
                self.engine.remove(container, patience_s=GOODBYE_S)
            return replace(observed, trace=reader.result()) if reader else observed

    def ask(self, calls: list[Call], rules: dict[str, Any] | None, *, capable: bool) -> Answers:
        """Make the calls in a fresh sandbox, and return their values. Raises Cancelled and EngineError."""
        if platform.machine() != caller.MACHINE:
            raise EngineError(f"system calls can only be probed on {caller.MACHINE}, not on {platform.machine()}")
        self._check()
        program = caller.program(calls)
        # A shell runtime's sandbox starts as nobody, who gets EPERM for some calls even without a filter.
        as_nobody = self.spec.as_nobody and not capable
        spec = replace(
            self.spec, seccomp=docker_value(rules), program=program, capable=capable, as_nobody=as_nobody
        )
        container = self.engine.create(spec)
        try:
            channel = self.engine.attach(container)
            with closing(channel):
                self.engine.start(container)
                output = _read_all(channel)
            state = self.engine.state_after_end(container)
        finally:
            self.engine.remove(container)
        return Answers(caller.answers(output), (state.exit_code or 0) > KILLED)

    def _job(self, channel: Channel, container: str, limits: Limits, job: Job | None) -> Observation:
        try:
            self.engine.start(container)
            wait_until_ready(channel, container)
        except EngineError as e:
            return Observation(None, None, start_error=str(e))
        if job is None:
            return Observation(None, None)
        report = session_of(self.runtime, channel, container, limits).run(job)
        state = state_of(self.engine, container, report)
        if report.ended_by is EndedBy.RUNNER:
            with suppress(EngineError):
                channel.send(BYE)
        elif state is None:
            self.engine.kill(container)
        return Observation(report, decide(report, state, limits))

    def under(self, limits: Limits) -> "Laboratory":
        """Return a copy with other limits."""
        return replace(self, spec=replace(self.spec, limits=limits))

    def for_traced(self) -> Limits:
        times: dict[str, Any] = {name: _stretched(getattr(self.limits, name)) for name in STRETCHED}
        return replace(self.limits, **times)

    def _check(self) -> None:
        if self.inspection is None:
            return
        running = Inspection.objects.filter(pk=self.inspection.pk, state=InspectionState.RUNNING)
        if not running.exists():
            raise Cancelled


def _stretched(ms: int) -> int:
    return max(ms, min(TRACED_TIMES * ms, LONGEST_TRACED_MS))


def _read_all(channel: Channel) -> bytes:
    output = b""
    deadline = time.monotonic() + CALLS_S
    while select.select([channel], [], [], max(0.0, deadline - time.monotonic()))[0]:
        arrived = channel.receive()
        if arrived is None:
            return output
        output += arrived[0]
    # A call does not return: use the values written until now.
    return output


def sweep(engine: Engine) -> None:
    """Remove the containers of inspections that dead workers left on this node."""
    for container in engine.containers(kind=KIND):
        running = Inspection.objects.filter(
            pk=int(container.sandbox) if container.sandbox.isdigit() else 0, state=InspectionState.RUNNING
        )
        if not running.exists():
            logger.warning("container %s of inspection %s: removed", container.id[:12], container.sandbox)
            engine.remove(container.id)
