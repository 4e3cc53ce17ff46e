"""One sandbox of a test's own, driven frame by frame through the engine, without the rest of the platform."""

import contextlib
import select
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from runtimes.models import MIB, Limits
from sandboxes.direct.engine import DirectEngine
from sandboxes.direct.runsc import binary
from sandboxes.engine import Engine, SandboxSpec
from sandboxes.engines import ENGINES
from sandboxes.protocol import End, Frames, Job, parse_artifact, parse_compiled

# Only so that a hung guest ends a test: nothing here is expected to take long.
PATIENCE_S = 90
SOURCE_FILES = {"python": "main.py", "nodejs": "main.js"}
LIMITS = Limits(
    wall_time_ms=60_000,
    cpu_time_ms=60_000,
    cpus=1.5,
    memory_bytes=256 * MIB,
    processes=64,
    open_files=256,
    workspace_bytes=24 * MIB,
    tmp_bytes=8 * MIB,
    output_bytes=MIB,
    output_action="cut",
    result_bytes=MIB,
    artifact_count=10,
    artifact_bytes=MIB,
)


@contextlib.contextmanager
def own_engine(name: str = "") -> Iterator[Engine]:
    """An engine under a node name of its own, so that no keeper of this machine minds."""
    with override_settings(SANDBOX_NODE=f"test-{uuid.uuid4().hex[:12]}"):
        engine: Engine = ENGINES[name or settings.SANDBOX_ENGINE]()
        try:
            yield engine
        finally:
            for container in engine.containers():
                engine.remove(container.id)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """The engine of SANDBOX_ENGINE."""
    with own_engine() as engine:
        yield engine


@pytest.fixture(scope="module")
def docker_engine() -> Iterator[Engine]:
    """For what only Docker does."""
    with own_engine("docker") as engine:
        yield engine


@pytest.fixture(scope="module", params=sorted(ENGINES))
def each_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """One after the other, for what every engine must do."""
    with own_engine(request.param) as engine:
        yield engine


def spec(language: str = "python", **overrides: Any) -> SandboxSpec:
    config = {"preload": [], "preload_when_idle": []} | overrides.pop("runner_config", {})
    defaults = SandboxSpec(
        image=f"sandbox-platform/runtime-{language}:latest", limits=LIMITS, runner_config=config
    )
    return replace(defaults, **overrides)


def job(code: str, language: str = "python", **overrides: Any) -> Job:
    defaults = Job(
        mode="function",
        code=code,
        source_file=SOURCE_FILES[language],
        arguments="{}",
        stdin="",
        argv=[],
        environment={},
        output_bytes=LIMITS.output_bytes,
        output_action=LIMITS.output_action,
        result_bytes=LIMITS.result_bytes,
        artifact_count=LIMITS.artifact_count,
        artifact_bytes=LIMITS.artifact_bytes,
        artifact_suffixes=None,
    )
    return replace(defaults, **overrides)


@dataclass
class Seen:
    """All that a runner sent, from its hello to the end of its stream or its last frame."""

    kinds: str = ""
    stdout: bytes = b""
    stderr: bytes = b""
    compiled: int | None = None  # the exit status of the compile command
    result: bytes | None = None
    artifacts: dict[str, bytes] = field(default_factory=dict)
    end: End | None = None
    complaint: str = ""  # the runner's own stderr


class Guest:
    def __init__(self, engine: Engine, spec: SandboxSpec) -> None:
        self.engine = engine
        self.id = engine.create(spec)
        self.channel = engine.attach(self.id)
        self._frames = Frames()
        self._waiting: list[tuple[bytes, bytes]] = []
        self.complaint = b""
        engine.start(self.id)

    def frame(self, patience_s: float = PATIENCE_S) -> tuple[bytes, bytes] | None:
        """The next frame; None at the end of the stream."""
        deadline = time.monotonic() + patience_s
        while not self._waiting:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.channel], [], [], left)[0]:
                raise TimeoutError(f"no frame within {patience_s} s; the runner's stderr: {self.complaint!r}")
            received = self.channel.receive()
            if received is None:
                return None
            self._waiting += self._frames.feed(received[0])
            self.complaint += received[1]
        return self._waiting.pop(0)

    def hello(self) -> bytes:
        frame = self.frame()
        assert frame is not None, f"the sandbox ended: {self.complaint!r}"
        assert frame[0] == b"H"
        return frame[1]

    def until_end(self) -> Seen:
        seen = Seen()
        while (frame := self.frame()) is not None:
            kind, payload = frame
            seen.kinds += kind.decode()
            match kind:
                case b"O":
                    seen.stdout += payload
                case b"E":
                    seen.stderr += payload
                case b"C":
                    seen.compiled = parse_compiled(payload)
                case b"R":
                    assert seen.result is None, "a second result"
                    seen.result = payload
                case b"A":
                    name, content = parse_artifact(payload)
                    seen.artifacts[name] = content
                case b"X":
                    seen.end = End.parse(payload)
                    break
        seen.complaint = self.complaint.decode(errors="replace")
        return seen

    def run(self, job: Job) -> Seen:
        self.channel.send(job.frame())
        return self.until_end()

    def remove(self) -> None:
        self.channel.close()
        self.engine.remove(self.id)


@contextlib.contextmanager
def guest(engine: Engine, spec: SandboxSpec) -> Iterator[Guest]:
    """A sandbox whose runner has said hello."""
    it = Guest(engine, spec)
    try:
        it.hello()
        yield it
    finally:
        it.remove()


def inside(engine: Engine, container_id: str, *words: str) -> bytes:
    """What a command writes that the host runs in the sandbox, as root."""
    if isinstance(engine, DirectEngine):
        command = [binary(), f"--root={settings.SANDBOX_RUN_DIR / 'runsc'}", "exec", container_id]
    else:
        command = ["docker", "exec", container_id]
    return subprocess.run([*command, *words], capture_output=True, check=False).stdout


def run(engine: Engine, code: str, language: str = "python", **overrides: Any) -> Seen:
    """What one job in a fresh sandbox did."""
    with guest(engine, spec(language)) as it:
        return it.run(job(code, language, **overrides))
