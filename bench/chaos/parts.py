"""A platform whose processes come back by themselves, as Compose's restart policy brings back its services."""

import contextlib
import os
import signal
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import requests
from docker.errors import DockerException

from bench.chaos.outside import Outside
from bench.chaos.relay import Relay
from scripts.embedded_postgres import PostgresError
from tests.executions.test_resilience import PROC, descendants
from tests.live import Platform
from tests.private_docker import PrivateDocker

PARTS = ("web", "worker", "keeper", "callbacks", "egress")
# Of squid, which is a container as in the stack.
PROXY = "proxy"
LOOK_EVERY_S = 0.5
# Everything that the platform writes, but the images of the runtimes: Postgres, logs, heads; and what sandboxes share.
STATE_MIB, RUN_MIB = 1500, 512
CLOCK = Path(__file__).with_name("clock.c")


class Chaotic(Platform):
    """With Postgres behind a relay for each part, on file systems of a fixed size, and with a clock that can be set.

    With `docker`, its sandboxes are containers of that engine. With `outside`, some programs may call out.
    """

    def __init__(
        self,
        folder: Path,
        docker: PrivateDocker | None = None,
        outside: Outside | None = None,
        **environment: str,
    ) -> None:
        self._docker, self.outside = docker, outside
        if docker:
            environment |= {"SANDBOX_ENGINE": "docker", "DOCKER_HOST": docker.host}
        if outside:
            environment |= outside.settings
        self._state, self._run = folder / "state", folder / "run"
        self._clock, self._clock_library = folder / "clock", folder / "clock.so"
        self.set_clock(0)
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", self._clock_library, CLOCK], check=True)
        for path, size in ((self._state, STATE_MIB), (self._run, RUN_MIB)):
            path.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m", "chaos", path], check=True)
        super().__init__(
            self._state,
            roles=False,
            SANDBOX_RUN_DIR=str(self._run),
            SANDBOX_CALLBACK_NETWORKS="127.0.0.0/8",
            **environment,
        )
        self.parts = PARTS if outside else tuple(part for part in PARTS if part != "egress")
        self._to_postgres = {part: Relay(lambda: self.postgres.port) for part in self.parts}
        self._keeps = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)

    @property
    def is_docker(self) -> bool:
        return self._docker is not None

    @property
    def run_folder(self) -> Path:
        return self._run

    @property
    def state_folder(self) -> Path:
        return self._state

    def relays(self, part: str) -> tuple[Relay, ...]:
        """Return the network of the part: its way to Postgres, or the proxy's to the gateway and back."""
        return self.outside.relays if self.outside and part == PROXY else (self._to_postgres[part],)

    def environment_of(self, name: str) -> dict[str, str]:
        environment = super().environment_of(name)
        url = environment["DATABASE_URL"].replace(f":{self.postgres.port}/", f":{self._to_postgres[name].port}/")
        return environment | {
            "DATABASE_URL": url,
            "LD_PRELOAD": str(self._clock_library),
            "CHAOS_CLOCK": str(self._clock),
        }

    def start(self, *runtimes: str) -> None:
        super().start(*runtimes)
        self.spawn("callbacks")
        if self.outside:
            self.spawn("egress")
            self.outside.admit(self)
        # What was promised to a caller must outlive a crash.
        self.postgres.stop()
        self.postgres.durable = True
        self._supervisor.start()
        self._keeps.wait(LOOK_EVERY_S * 4)
        self.until_ready()

    def stop(self) -> None:
        self._keeps.set()
        self._supervisor.join()
        try:
            super().stop()
        finally:
            for relay in self._to_postgres.values():
                relay.close()
            for path in (self._run, self._state):
                subprocess.run(["umount", "--lazy", path], check=False)

    def set_clock(self, seconds: int) -> None:
        """Set the clock of all parts but Postgres ahead of the right one. It is read as it is written: in place."""
        with open(self._clock, "r+b" if self._clock.exists() else "wb") as file:
            file.write(struct.pack("q", seconds))

    def pids_of(self, part: str) -> list[int]:
        """Every process of the part; of `sandboxes`, those that runsc has started for them."""
        if self._docker and part in ("sandboxes", "containerd"):
            lines = {pid: command_line(pid) for pid in _pids()}
            ours = [pid for pid, line in lines.items() if str(self._docker.sockets) in line]
            return [pid for pid in ours if part == part_of(lines[pid])]
        if part == "dockerd":
            return [self._docker.pid] if self._docker and self._docker.pid else []
        if part == PROXY:
            return self.outside.pids() if self.outside else []
        if part == "sandboxes":
            return [pid for pid in _pids() if str(self._run) in command_line(pid)]
        process = self.postgres.process if part == "postgres" else self.processes[part]
        return [process.pid, *descendants(process.pid)] if process else []

    def sandboxes(self) -> set[str]:
        return {container.id for container in self.containers()} if self._docker else super().sandboxes()

    def signal(self, part: str, number: signal.Signals) -> None:
        for pid in self.pids_of(part):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _supervise(self) -> None:
        while not self._keeps.wait(LOOK_EVERY_S):
            for part in self.parts:
                if self.processes[part].poll() is not None:
                    self.spawn(part)
            if self._docker and self._docker.pid is None:
                self._docker.start()
            if self.outside:
                # Docker may be busy; the next look starts it.
                with contextlib.suppress(DockerException, requests.RequestException):
                    self.outside.revive()
            postgres = self.postgres.process
            if postgres is None or postgres.poll() is not None:
                # Refuses to start while a process of the one before lives, and while there is no room.
                with contextlib.suppress(PostgresError):
                    self.postgres.start()


def part_of(line: str) -> str:
    """Return which part of Docker's engine the command line is of; the empty text for its other processes."""
    program = line.partition(" ")[0].rpartition("/")[2]
    if program == "containerd":
        return program
    return "sandboxes" if program.startswith("runsc") else ""


def _pids() -> Iterator[int]:
    return (int(path.name) for path in PROC.glob("[0-9]*"))


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""
