"""The direct engine: each sandbox is a `runsc` of its own, of the node and not of a process of the platform.

Everything about a sandbox is in its folder and its cgroup, so any process of the node can use it, and it outlives the
process that started it.
"""

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from django.conf import settings

from sandboxes import cgroup
from sandboxes.direct import bundle, channel
from sandboxes.direct.images import node_store
from sandboxes.direct.runsc import Runsc
from sandboxes.engine import Container, ContainerState, EngineError, SandboxSpec
from sandboxes.layout import KIND_LABEL, PROGRAM, ROW_LABEL
from sandboxes.models import EngineName
from sandboxes.sources.source import ImageSource, image_source

END_TIMEOUT_S = 20.0
LOOK_S = 0.005
# Written last: with it the sandbox exists.
DESCRIBED = "sandbox.json"
EXIT = "exit"


class DirectEngine:
    """See `sandboxes.engine.Engine`."""

    name = EngineName.DIRECT.value

    def __init__(self, images: ImageSource | None = None) -> None:
        self._folder: Path = settings.SANDBOX_RUN_DIR / "sandboxes"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._images = images or image_source()
        self._store = node_store()
        self._runsc = Runsc()

    def create(self, spec: SandboxSpec) -> str:
        image = self.unpacked(spec.image)
        name = secrets.token_hex(16)
        folder = self._folder / name
        try:
            folder.mkdir(mode=0o700)
            program = ""
            if spec.program:
                program = str(folder / PROGRAM)
                Path(program).write_bytes(spec.program)
                Path(program).chmod(0o755)
            config = bundle.config(spec, image, f"/{cgroup.parent_path()}/{name}", program)
            (folder / "config.json").write_text(json.dumps(config))
            channel.make(folder)
            described = {
                "node": settings.SANDBOX_NODE,
                "labels": {KIND_LABEL: "sandbox", **spec.labels},
                "flags": _flags(spec),
                # Without a runner only the exit status tells how the program ended.
                "waits": bool(spec.command or spec.program),
            }
            (folder / DESCRIBED).write_text(json.dumps(described))
        except OSError as e:
            shutil.rmtree(folder, ignore_errors=True)
            raise EngineError(f"create: {e}") from e
        return name

    def unpacked(self, image: str) -> bundle.Image:
        """Return an image's unpacked copy, made first if the node has none. Raises ImageMissing."""
        image_id = self._images.image_id(image)

        def export(archive: IO[bytes]) -> dict[str, Any]:
            return self._images.export(image_id, archive)

        return self._store.image(image_id, export)

    def start(self, container_id: str) -> None:
        folder = self._folder / container_id
        described = self._described(folder)
        if described is None:
            raise EngineError(f"start: there is no sandbox {container_id}")
        try:
            # Both ends, so that opening waits for nobody; the sandbox is then the only one that holds them.
            fds = [os.open(folder / stream, os.O_RDWR | os.O_CLOEXEC) for stream in channel.STREAMS]
        except OSError as e:
            raise EngineError(f"start: {e}") from e
        try:
            if described["waits"]:
                self._runsc.run_and_record(container_id, folder, described["flags"], fds, folder / EXIT)
            else:
                self._runsc.run(container_id, folder, described["flags"], fds)
        finally:
            for fd in fds:
                os.close(fd)

    def attach(self, container_id: str) -> channel.FifoChannel:
        return channel.FifoChannel(self._folder / container_id)

    def kill(self, container_id: str) -> None:
        with _engine_errors("kill"):
            cgroup.kill(container_id)

    def remove(self, container_id: str, *, patience_s: int = 0) -> None:
        with _engine_errors("remove"):
            cgroup.wait_for_end(container_id, patience_s)
            cgroup.kill(container_id)
            ended = cgroup.wait_for_end(container_id, END_TIMEOUT_S)
        if not ended:
            raise EngineError(f"remove: the processes of sandbox {container_id} do not end")
        folder = self._folder / container_id
        if folder.exists():
            self._runsc.delete(container_id)
            # The description goes first, as it came last.
            (folder / DESCRIBED).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
        cgroup.remove(container_id)

    def state_after_end(self, container_id: str) -> ContainerState:
        with _engine_errors("inspect"):
            ended = cgroup.wait_for_end(container_id, END_TIMEOUT_S)
        usage = cgroup.usage(container_id)
        return ContainerState(
            running=not ended,
            exit_code=self._exit_status(container_id) if ended else None,
            oom_killed=bool(usage and usage.oom_kills),
        )

    def _exit_status(self, container_id: str) -> int | None:
        deadline = time.monotonic() + END_TIMEOUT_S
        folder = self._folder / container_id
        described = self._described(folder)
        while described and described["waits"]:
            with contextlib.suppress(OSError, ValueError, KeyError):
                return int(json.loads((folder / EXIT).read_text())["exitStatus"])
            if time.monotonic() >= deadline:
                break
            time.sleep(LOOK_S)
        return None

    def containers(self, kind: str = "sandbox") -> list[Container]:
        found = []
        for folder in self._folder.iterdir():
            described = self._described(folder)
            if described is None or described["node"] != settings.SANDBOX_NODE:
                continue
            labels: Mapping[str, str] = described["labels"]
            if labels[KIND_LABEL] == kind:
                row = labels.get(ROW_LABEL, "")
                with _engine_errors("list"):
                    found.append(Container(folder.name, row, bool(cgroup.processes(folder.name))))
        return found

    def _described(self, folder: Path) -> dict[str, Any] | None:
        try:
            return dict(json.loads((folder / DESCRIBED).read_text()))
        except (OSError, ValueError):
            return None  # being created or removed

    def image_id(self, image: str) -> str:
        return self._images.image_id(image)

    def version(self) -> str:
        return self._runsc.version()


@contextlib.contextmanager
def _engine_errors(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise EngineError(f"{what}: {e}") from e


def _flags(spec: SandboxSpec) -> list[str]:
    """Return runsc's flags beyond those that every sandbox has."""
    if spec.trace_to:
        # Every system call, with as little of its arguments as gVisor allows.
        log = f"--debug-log={spec.trace_to}"
        return ["--debug", "--debug-command=boot", "--strace", "--strace-log-size=1", log]
    # The only way out is a Unix socket of the host in a mounted directory. The guest may open sockets but not create
    # them; see docs/egress.md.
    return ["--host-uds=open"] if spec.door else []
