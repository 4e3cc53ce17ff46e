"""A worker or a keeper whose sandboxes do nothing: `python -m bench.scaling.noop worker`.

What is left of a run is what the platform itself does. The processes of a node share a folder with a file for each
sandbox, named by BENCH_SANDBOXES. The tests' stub engine lives in one process, so it cannot stand for this one.
"""

import functools
import json
import os
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.scaling.observing import PUSHER

if TYPE_CHECKING:
    from sandbox_platform.kit.tasks import Task
    from sandboxes.engine import Container, ContainerState, SandboxSpec

FOLDER = "BENCH_SANDBOXES"
RESULT = b"1"
# Jobs of these rooms start sandboxes or read images, which are not there.
WITHOUT_JOBS = ("builds", "inspections", "sandboxes")
JOBS_OF_IMAGES = ("Unpack images", "Remove unpacked images")


def frame(kind: bytes, payload: bytes) -> bytes:
    return kind + len(payload).to_bytes(4, "big") + payload


@dataclass
class NoopChannel:
    """The stream of a sandbox that answers every job at once. `ends`: of a pipe, to read and to write."""

    ends: tuple[int, int] = field(default_factory=os.pipe)

    def fileno(self) -> int:
        return self.ends[0]

    def say(self, frames: bytes) -> None:
        os.write(self.ends[1], frames)

    def receive(self) -> tuple[bytes, bytes] | None:
        return os.read(self.ends[0], 1 << 16), b""

    def send(self, data: bytes) -> None:
        if data[:1] == b"J":
            end: dict[str, Any] = {"exit_code": 0, "signal": None, "stdout_bytes": 0, "stderr_bytes": 0}
            end |= {"result_bytes": len(RESULT), "cold": False, "dropped": []}
            self.say(frame(b"R", RESULT) + frame(b"X", json.dumps(end).encode()))

    def close(self) -> None:
        for end in self.ends:
            os.close(end)


class NoopEngine:
    name = "docker"

    def __init__(self) -> None:
        self._folder = Path(os.environ[FOLDER])
        self._fresh: set[str] = set()

    def create(self, spec: "SandboxSpec") -> str:
        from sandboxes.layout import ROW_LABEL

        sandbox = uuid.uuid4().hex * 2
        (self._folder / sandbox).write_text(spec.labels.get(ROW_LABEL, ""), encoding="ascii")
        self._fresh.add(sandbox)
        return sandbox

    def start(self, container_id: str) -> None:
        """Do nothing: the sandbox says hello to whoever attaches first."""

    def attach(self, container_id: str) -> NoopChannel:
        from sandboxes.protocol import VERSION

        channel = NoopChannel()
        if container_id in self._fresh:
            self._fresh.discard(container_id)
            channel.say(frame(b"H", json.dumps({"protocol": VERSION}).encode()))
        return channel

    def kill(self, container_id: str) -> None:
        """Do nothing: nothing runs."""

    def remove(self, container_id: str, *, patience_s: int = 0) -> None:
        (self._folder / container_id).unlink(missing_ok=True)

    def state_after_end(self, container_id: str) -> "ContainerState":
        from sandboxes.engine import ContainerState

        return ContainerState(running=False, exit_code=0, oom_killed=False)

    def containers(self, kind: str = "sandbox") -> "list[Container]":
        from sandboxes.engine import Container

        files = self._folder.iterdir() if kind == "sandbox" else ()
        return [Container(each.name, _text(each), True) for each in files]

    def image_id(self, image: str) -> str:
        return "sha256:" + "0" * 64

    def version(self) -> str:
        return "no-op"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:  # removed meanwhile
        return ""


def nothing() -> None:
    """What a task of the broker's measurement does."""


def main(service: str) -> None:
    # Postgres tells sessions apart by the name of the command.
    sys.argv = ["manage.py", service]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sandbox_platform.settings")
    import django

    django.setup()
    from sandboxes import engines

    engines.ENGINES[NoopEngine.name] = NoopEngine
    declare_nothing()
    if service == "worker":
        from executions.worker import warm_up
        from sandbox_platform.kit import cluster

        cluster.push = named(PUSHER, cluster.push)
        cluster.run(warm_up)
    else:
        _keep()


def named(name: str, work: Callable[..., None]) -> Callable[..., None]:
    """Return `work` in a process that gives itself this name, by which its CPU time is told from the others'."""

    def start(*arguments: Any) -> None:
        Path("/proc/self/comm").write_text(name, encoding="ascii")
        work(*arguments)

    return start


@functools.cache
def declare_nothing() -> "Task":
    """Return the task that does nothing, known to this process's queue from now on."""
    from sandbox_platform.kit.services import Service
    from sandbox_platform.kit.tasks import Task

    return Task("bench-nothing", f"{nothing.__module__}.{nothing.__name__}", senders=[Service.WORKER])


def _keep() -> None:
    import signal

    from executions.occupancy import Executions
    from sandbox_platform.kit import jobs
    from sandbox_platform.kit.services import Service
    from sandboxes.engines import get_engine
    from sandboxes.keeper import Keeper

    mine = [
        job
        for job in jobs.of(Service.KEEPER)
        if job.work.__module__.partition(".")[0] not in WITHOUT_JOBS and job.name not in JOBS_OF_IMAGES
    ]
    keeper = Keeper(get_engine(), Executions(), mine)
    signal.signal(signal.SIGTERM, lambda *_: keeper.stop())
    keeper.run()


if __name__ == "__main__":
    from bench.scaling import noop  # not as __main__, which the task's function could not be found in

    noop.main(sys.argv[1])
