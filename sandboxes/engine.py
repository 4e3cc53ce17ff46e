"""The interface of an engine, which starts sandboxes: docker_engine or direct.engine; see sandboxes.engines."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from runtimes.models import Limits


class EngineError(Exception):
    """The engine is unreachable or refused. A fault of the platform, never of the program."""


class ImageMissing(EngineError):
    """The image is not on this node. Runs never pull images."""


@dataclass(frozen=True)
class SandboxSpec:
    """How to start a sandbox."""

    image: str
    limits: Limits
    runner_config: Mapping[str, Any] = field(default_factory=dict)  # the runner's last argument, as JSON
    environment: Mapping[str, str] = field(default_factory=dict)
    seccomp: str = "unconfined"  # or a profile as JSON text
    labels: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()  # replaces the runner, for images without one and for the doctor's checks
    as_nobody: bool = False  # run the first process unprivileged, where no runner needs to change its user
    program: bytes = b""  # an executable of the platform, copied into the container and started instead of its own
    # Give a `program` all capabilities in the guest, so that only the profile can be what refuses a call.
    capable: bool = False
    # For a sandbox with egress: the host's folder that holds its door; see executions.egress.
    door: str = ""
    trace_to: str = ""  # path on the host to which gVisor writes its trace; see sandboxes.tracing


@dataclass(frozen=True)
class ContainerState:
    """The host's state of a container that may have ended."""

    running: bool
    exit_code: int | None
    oom_killed: bool


@dataclass(frozen=True)
class Container:
    """A container that carries the platform's label for this node."""

    id: str
    sandbox: str  # the label with the key of its Sandbox row, "" if the container has none
    running: bool


class Channel(Protocol):
    """The sandbox's stdin, stdout and stderr. Whoever opens a channel closes it."""

    def fileno(self) -> int:
        """Return a descriptor for select; readable when `receive` would not block."""

    def receive(self) -> tuple[bytes, bytes] | None:
        """Return the bytes of (stdout, stderr) that have arrived, either perhaps empty; None at the end."""

    def send(self, data: bytes) -> None:
        """Write all data to stdin. Raises EngineError if the sandbox is gone."""

    def close(self) -> None: ...


class Engine(Protocol):
    """Every method raises EngineError when the engine fails, and has a time limit."""

    name: str  # of sandboxes.models.EngineName

    def create(self, spec: SandboxSpec) -> str:
        """Create a container without starting it; return its id. Raises ImageMissing."""

    def start(self, container_id: str) -> None: ...

    def attach(self, container_id: str) -> Channel:
        """Open a channel. Attach before `start` or while the sandbox writes nothing: output may be lost meanwhile."""

    def kill(self, container_id: str) -> None:
        """Send SIGKILL. Succeeds for a container that is gone or not running."""

    def remove(self, container_id: str, *, patience_s: int = 0) -> None:
        """Kill and remove the container. Succeeds for one that is gone.

        Wait up to `patience_s` seconds for it to end by itself first, which is cheaper than killing it.
        """

    def state_after_end(self, container_id: str) -> ContainerState:
        """Wait briefly for a container whose output has ended, and return its state."""

    def containers(self, kind: str = "sandbox") -> list[Container]:
        """Return all containers of this node and kind, running or not."""

    def image_id(self, image: str) -> str:
        """Return the content id of an image on this node. Raises ImageMissing."""

    def version(self) -> str:
        """Return the version of gVisor's runsc, or "" if it is unknown."""
