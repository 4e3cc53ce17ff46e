"""Tries on this node whether its processes can start sandboxes with the direct engine."""

import select
import shutil
import time
from dataclasses import dataclass

from django.conf import settings

from runtimes.models import MIB, Limits
from sandboxes import cgroup, gvisor
from sandboxes.direct import images, runsc
from sandboxes.engine import Channel, Engine, EngineError, SandboxSpec
from sandboxes.layout import KIND_LABEL
from sandboxes.sources.source import REGISTRY

# Until its first line: a fraction of a second, or a minute where the machine is emulated.
PATIENCE_S = 180
STATUS = 7
SCRIPT = f"echo ready; read line; exit {STATUS}"
LIMITS = Limits(
    wall_time_ms=PATIENCE_S * 1000,
    cpu_time_ms=PATIENCE_S * 1000,
    cpus=1,
    memory_bytes=128 * MIB,
    processes=64,
    open_files=256,
    workspace_bytes=MIB,
    tmp_bytes=MIB,
    output_bytes=MIB,
    output_action="kill",
    result_bytes=MIB,
    artifact_count=0,
    artifact_bytes=0,
)


@dataclass(frozen=True)
class NotUsable(Exception):
    """The direct engine does not work here. `fix` says what would help."""

    reason: str
    fix: str

    def __str__(self) -> str:
        return self.reason


def check_tools() -> None:
    """Raise NotUsable if something is missing that no sandbox starts without, or that must not be old."""
    if not (path := runsc.binary()):
        raise NotUsable("runsc is missing", "run `make setup`")
    version = gvisor.version_of(path)
    if not gvisor.is_current(version):
        raise NotUsable(
            f"{path} is {version or 'of an unknown version'}, which is not current", "run `make setup`"
        )
    if not images.available():
        raise NotUsable("mkfs.erofs or tar is missing", "install erofs-utils and tar, or run `make setup`")
    if settings.SANDBOX_IMAGE_SOURCE == REGISTRY and not shutil.which("skopeo"):
        raise NotUsable("skopeo is missing, with which images are fetched from the registry", "install skopeo")


def check_cgroups() -> None:
    root = settings.SANDBOX_CGROUP_ROOT
    if missing := cgroup.missing_controllers():
        raise NotUsable(f"{root} has no controller {', '.join(missing)}", "boot with these controllers enabled")
    try:
        cgroup.check_writable()
    except OSError as e:
        raise NotUsable(
            f"{root} is not writable: {e.strerror or e}", "mount the host's cgroup tree writable"
        ) from e


def try_sandbox(engine: Engine, image: str) -> None:
    """Start a sandbox, compare its limit with the kernel's, end and remove it. Raises NotUsable or EngineError."""
    command = ("/bin/sh", "-c", SCRIPT)
    # Not the pool's kind, or the keeper would remove it as a stray.
    spec = SandboxSpec(image=image, limits=LIMITS, labels={KIND_LABEL: "trial"}, command=command)
    name = engine.create(spec)
    try:
        channel = engine.attach(name)
        try:
            engine.start(name)
            _wait_for_output(channel)
            if (limit := cgroup.memory_limit(name)) != LIMITS.memory_bytes:
                raise NotUsable(f"the kernel's memory limit of a sandbox is {limit}", "see runsc's cgroup support")
            channel.send(b"\n")
        finally:
            channel.close()
        state = engine.state_after_end(name)
        if (state.running, state.exit_code) != (False, STATUS):
            raise NotUsable(f"a sandbox ended otherwise than its program: {state}", "see runsc's log")
    finally:
        engine.remove(name)


def _wait_for_output(channel: Channel) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (left := deadline - time.monotonic()) > 0:
        if select.select([channel], [], [], left)[0]:
            received = channel.receive()
            if received and received[0]:
                return
            if received is None or received[1]:
                raise EngineError(f"a sandbox wrote {received!r} instead of its first line")
    raise EngineError(f"a sandbox wrote nothing within {PATIENCE_S} s")
