"""A Docker Engine of its own, to be killed: the machine's own serves other tests, and people."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import docker
from django.conf import settings

from tests.live import eventually

START_S, STOP_S = 60, 60


@contextlib.contextmanager
def private_docker(image: str = "sandbox-platform/runtime-python:latest") -> Iterator["PrivateDocker"]:
    """Start one that has this image. Its folder is not a test's own: the paths of its sockets must stay short."""
    with tempfile.TemporaryDirectory(prefix="docker-") as folder:
        engine = PrivateDocker(Path(folder))
        try:
            engine.start()
            engine.take_image(image)
            yield engine
        finally:
            engine.stop()


class PrivateDocker:
    def __init__(self, folder: Path, arguments: Sequence[str] = ("--network=none", "--oci-seccomp")) -> None:
        self._folder = folder
        self._arguments = list(arguments)
        self._daemon: subprocess.Popen[bytes] | None = None
        # Of the sockets alone: containerd's path may have 104 bytes, and a test's own folder is too long for that.
        self._sockets = Path(tempfile.mkdtemp(prefix="docker-"))
        self.host = f"unix://{self._sockets}/docker.sock"

    def start(self) -> None:
        name = settings.SANDBOX_GVISOR_RUNTIME
        with contextlib.closing(docker.DockerClient.from_env()) as ours:
            path = ours.info()["Runtimes"][name]["path"]
        config = self._folder / "daemon.json"
        config.write_text(json.dumps({"runtimes": {name: {"path": path, "runtimeArgs": self._arguments}}}))
        with (self._folder / "dockerd.log").open("ab") as log:
            self._daemon = subprocess.Popen(
                [
                    # In a network of its own: without a bridge, dockerd removes the machine's docker0.
                    "unshare", "--net", "/usr/sbin/dockerd", f"--config-file={config}", f"--host={self.host}",
                    f"--data-root={self._folder}/data", f"--exec-root={self._sockets}/exec",
                    f"--pidfile={self._folder}/docker.pid",
                    "--bridge=none", "--iptables=false", "--ip6tables=false",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        eventually(self._answers, f"Docker answers; its log is in {self._folder}", START_S)

    def _answers(self) -> bool:
        try:
            with contextlib.closing(docker.DockerClient(base_url=self.host)) as client:
                return bool(client.ping())
        except docker.errors.DockerException:
            return False

    @property
    def sockets(self) -> Path:
        """The folder of the daemon's sockets and of what runs in it; no other process has it in its command line."""
        return self._sockets

    @property
    def pid(self) -> int | None:
        """The daemon's process; None if it has ended."""
        return self._daemon.pid if self._daemon and self._daemon.poll() is None else None

    def processes(self) -> list[int]:
        """Return every process that has the folder of the sockets in its command line."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if str(self._sockets).encode() in path.read_bytes():
                    found.append(int(path.parent.name))
        return found

    def take_image(self, name: str) -> None:
        """From the machine's own engine."""
        ours = docker.DockerClient.from_env(timeout=300)
        theirs = docker.DockerClient(base_url=self.host, timeout=300)
        with contextlib.closing(ours), contextlib.closing(theirs):
            theirs.images.load(b"".join(ours.images.get(name).save(named=name)))

    def kill(self) -> None:
        """kill -9 of dockerd; containerd and the containers live on, as they do when it crashes."""
        assert self._daemon
        self._daemon.kill()
        self._daemon.wait()

    def stop(self) -> None:
        if self._daemon:
            self._daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._daemon.wait(STOP_S)
            # Those of a daemon that was killed, that did not end, or that never came up.
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._daemon.wait()
            # dockerd leaves the mount of its data folder on itself, and runsc that of a network namespace.
            for line in reversed(Path("/proc/mounts").read_text().splitlines()):
                place = line.split()[1]
                if place.startswith((f"{self._folder}/data", f"{self._sockets}/")):
                    subprocess.run(["umount", place], capture_output=True, check=False)
        shutil.rmtree(self._sockets)
