"""The gVisor sandbox in which a step of a build runs: its root is the file system of buildah's container.

What the steps write goes there. In the sandbox are no network, no folder of the machine but that of the forwarder's
sockets, and no secrets but those that a step is given.
"""

import json
import os
import select
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builds.engine import CAPABILITIES, DOOR, MEMORY_BYTES
from sandboxes.direct.bundle import PATH, system_mounts
from sandboxes.direct.runsc import Runsc
from sandboxes.engine import ContainerState, EngineError

CHUNK = 1 << 18
END_S = 20
FLAGS = (
    # What is written becomes the image.
    "--overlay2=none",
    # A process of its own opens the files, and the one that takes the guest's calls has no capability on the machine.
    "--directfs=false",
    # The builder's own limits hold: it has no part of the machine's tree to make another limit in.
    "--ignore-cgroups",
)


@dataclass(frozen=True)
class Program:
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    user: int
    capable: bool
    folder: str = "/"
    door: Path | None = None


class OutputChannel:
    """The output of a sandbox; nothing is sent to it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def receive(self) -> tuple[bytes, bytes] | None:
        data = os.read(self._fd, CHUNK)
        return (data, b"") if data else None

    def send(self, data: bytes) -> None:
        raise EngineError("a build's sandbox has no input")

    def close(self) -> None:
        os.close(self._fd)


class Guest:
    """One container's sandbox, which can be started again after its end.

    `folder`: for the bundle; its name is that of the sandbox.
    """

    def __init__(self, runsc: Runsc, folder: Path, root: Path, program: Program) -> None:
        self._runsc, self._folder, self._root, self._program = runsc, folder, root, program
        self._output: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def attach(self) -> OutputChannel:
        read, self._output = os.pipe()
        return OutputChannel(read)

    def start(self) -> None:
        if self._output is None:
            raise EngineError("start: nobody is attached")
        output, self._output = self._output, None
        try:
            # A sandbox whose runsc was killed is still known.
            self._runsc.delete(self._folder.name)
            (self._folder / "config.json").write_text(json.dumps(config(self._root, self._program)))
            flags = [*FLAGS, *(["--host-uds=open"] if self._program.door else [])]
            self._process = self._runsc.foreground(self._folder.name, self._folder, flags, output)
        except OSError as e:
            raise EngineError(f"start: {e}") from e
        finally:
            os.close(output)

    def state_after_end(self) -> ContainerState:
        if self._process is None:
            return ContainerState(running=False, exit_code=None, oom_killed=False)
        ended = _ended(self._process)
        return ContainerState(running=not ended, exit_code=self._process.poll(), oom_killed=False)

    def remove(self) -> None:
        if self._output is not None:
            os.close(self._output)
            self._output = None
        if self._process is not None:
            self._runsc.kill(self._folder.name)
            self._process.kill()
            self._process.wait(END_S)
            self._process = None


def _ended(process: "subprocess.Popen[bytes]") -> bool:
    if process.poll() is not None:
        return True
    pidfd = os.pidfd_open(process.pid)
    try:
        return bool(select.select([pidfd], [], [], END_S)[0])
    finally:
        os.close(pidfd)


def config(root: Path, program: Program) -> dict[str, Any]:
    """Return the OCI configuration."""
    granted = [f"CAP_{name}" for name in CAPABILITIES] if program.capable else []
    environment = {"PATH": PATH, **program.environment}
    return {
        "ociVersion": "1.0.2",
        "hostname": "build",
        "root": {"path": str(root), "readonly": False},
        "process": {
            "user": {"uid": program.user, "gid": program.user},
            "args": list(program.arguments),
            "env": [f"{name}={value}" for name, value in environment.items()],
            "cwd": program.folder,
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), granted),
            "noNewPrivileges": True,
        },
        "mounts": [
            *system_mounts(),
            *([_door(program.door)] if program.door else []),
        ],
        "linux": {
            "namespaces": [{"type": name} for name in ("pid", "network", "ipc", "uts", "mount")],
            # What the guest takes for the machine's memory.
            "resources": {"memory": {"limit": MEMORY_BYTES}},
        },
    }


def _door(folder: Path) -> dict[str, Any]:
    return {"destination": DOOR, "type": "bind", "source": str(folder), "options": ["rbind", "ro"]}
