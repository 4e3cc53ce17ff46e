"""What the platform asks of a container engine. One implementation speaks Docker; nothing else may."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from runtimes.models import Limits


class EngineError(Exception):
    """The engine is unreachable or refused. The platform's fault, never the program's."""


class ImageMissing(EngineError):
    """The image is not on this node; it is never pulled on the way of a run."""


@dataclass(frozen=True)
class SandboxSpec:
    """How to start a sandbox."""

    image: str
    limits: Limits
    runner_config: Mapping[str, Any] = field(default_factory=dict)  # the runner's last argument, as JSON
    environment: Mapping[str, str] = field(default_factory=dict)
    seccomp: str = "unconfined"  # or a profile as JSON text
    labels: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()  # instead of the runner: the image has none, or the doctor looks around
    as_nobody: bool = False  # from the first process on: no runner that needs to change its user
    program: bytes = b""  # the platform's own, put into the image and started instead of all that is there
    # All of the guest's capabilities, for a `program` alone: what is refused to it, the profile refuses.
    capable: bool = False
    # A folder on the host with the socket that leads out, for a sandbox with egress; see executions.egress.
    door: str = ""
    trace_to: str = ""  # a path on the host that gVisor writes to what its guest does; see sandbox.tracing


@dataclass(frozen=True)
class ContainerState:
    """What the host says of a container that may have ended."""

    running: bool
    exit_code: int | None
    oom_killed: bool


@dataclass(frozen=True)
class Container:
    """A container that carries the platform's label for this node."""

    id: str
    sandbox: str  # the value of the label that names the Sandbox row, "" if it has none
    running: bool


class Channel(Protocol):
    """The sandbox's stdin, stdout and stderr; owned by whoever opened it."""

    def fileno(self) -> int:
        """For select: readable when `receive` would not block."""

    def receive(self) -> tuple[bytes, bytes] | None:
        """Bytes of (stdout, stderr) that have arrived, one of them perhaps empty; None at the end."""

    def send(self, data: bytes) -> None:
        """Write all to stdin; raises EngineError if the sandbox is gone."""

    def close(self) -> None: ...


class Engine(Protocol):
    """Every verb raises EngineError when the engine fails, and has a time limit."""

    def create(self, spec: SandboxSpec) -> str:
        """A container that is not started yet; its id. Raises ImageMissing."""

    def start(self, container_id: str) -> None: ...

    def attach(self, container_id: str) -> Channel:
        """Before `start`, or to a sandbox that is silent: what is sent while attaching may be lost."""

    def kill(self, container_id: str) -> None:
        """SIGKILL; a container that is not running or gone is success."""

    def remove(self, container_id: str, *, patience_s: int = 0) -> None:
        """Kill and remove; a container that is gone is success. One that is about to end by itself, which is
        cheaper than killing it, gets `patience_s` to do so."""

    def state_after_end(self, container_id: str) -> ContainerState:
        """Wait briefly for a container whose output ended, and say how it did."""

    def containers(self, kind: str = "sandbox") -> list[Container]:
        """All sandboxes of this node and kind, running or not."""

    def image_id(self, image: str) -> str:
        """Content id of an image on this node. Raises ImageMissing."""

    def version(self) -> str:
        """Version of gVisor's runsc, "" if it cannot be known."""
