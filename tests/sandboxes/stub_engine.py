"""An engine without Docker: its sandboxes say hello at once and then do nothing."""

import itertools
import json
import socket
import threading
from dataclasses import dataclass, field

from sandboxes.docker_engine import DockerChannel
from sandboxes.engine import Channel, Container, ContainerState, EngineError, ImageMissing, SandboxSpec
from sandboxes.layout import ROW_LABEL
from sandboxes.sources.source import SourceUnavailable


@dataclass
class StubContainer:
    spec: SandboxSpec
    running: bool = False
    sockets: list[socket.socket] = field(default_factory=list)


class StubEngine:
    name = "docker"

    def __init__(self) -> None:
        self.here: dict[str, StubContainer] = {}
        self.created: list[SandboxSpec] = []
        self.killed: list[str] = []
        self.removed: list[str] = []
        self.away = False
        self.missing: set[str] = set()
        self.unavailable: set[str] = set()
        self._lock = threading.Lock()
        self._ids = itertools.count(1)

    def _check(self) -> None:
        if self.away:
            raise EngineError("the engine is away")

    def create(self, spec: SandboxSpec) -> str:
        self._check()
        with self._lock:
            container_id = f"{next(self._ids):064d}"
            self.here[container_id] = StubContainer(spec)
            self.created.append(spec)
        return container_id

    def start(self, container_id: str) -> None:
        self._check()
        container = self.here[container_id]
        container.running = True
        hello = json.dumps({"protocol": 2}).encode()
        frame = b"H" + len(hello).to_bytes(4, "big") + hello
        for sock in container.sockets:
            sock.sendall(b"\1\0\0\0" + len(frame).to_bytes(4, "big") + frame)

    def attach(self, container_id: str) -> Channel:
        self._check()
        if container_id not in self.here:
            raise EngineError("no such container")
        theirs, ours = socket.socketpair()
        self.here[container_id].sockets.append(theirs)
        return DockerChannel(ours)

    def kill(self, container_id: str) -> None:
        self._check()
        self.killed.append(container_id)
        if container_id in self.here:
            self.here[container_id].running = False

    def remove(self, container_id: str, *, patience_s: int = 0) -> None:
        self._check()
        self.removed.append(container_id)
        if container := self.here.pop(container_id, None):
            for sock in container.sockets:
                sock.close()

    def state_after_end(self, container_id: str) -> ContainerState:
        self._check()
        return ContainerState(running=False, exit_code=137, oom_killed=False)

    def containers(self, kind: str = "sandbox") -> list[Container]:
        if kind != "sandbox":
            return []
        self._check()
        with self._lock:
            here = dict(self.here)
        return [Container(id_, c.spec.labels.get(ROW_LABEL, ""), c.running) for id_, c in here.items()]

    def image_id(self, image: str) -> str:
        self._check()
        if image in self.unavailable:
            raise SourceUnavailable(image)
        if image in self.missing:
            raise ImageMissing(f"no image {image}")
        return f"sha256:{image}"

    def version(self) -> str:
        return "stub"

    def close(self) -> None:
        for container_id in list(self.here):
            self.away = False
            self.remove(container_id)
