"""The Docker engine. No other module talks to Docker."""

import functools
import io
import json
import os
import re
import secrets
import socket
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

import docker
import docker.errors
import requests.exceptions
from django.conf import settings
from docker.types import Ulimit

from sandboxes import gvisor
from sandboxes.engine import Container, ContainerState, EngineError, ImageMissing, SandboxSpec
from sandboxes.layout import (
    CPU_PERIOD_US,
    DOOR,
    HOME,
    HOSTNAME,
    KIND_LABEL,
    NOBODY,
    PIDS_BASE,
    PIDS_PER_PROCESS,
    PROGRAM,
    RESULTS,
    ROW_LABEL,
    WORKSPACE,
    capabilities,
    cgroup_of_docker,
)
from sandboxes.models import EngineName

API_TIMEOUT_S = 60
# Of what takes a start: seconds where the machine is busy, minutes where it is emulated.
START_TIMEOUT_S = 300
END_TIMEOUT_S = 5
IMAGE_ID_S = 5.0
# The Compose stack mounts SANDBOX_RUNSC_DIR here for worker and keeper, which ask runsc for its version. What `make`
# installed has the same path there as on the host.
HOST_BIN = "/host/bin"
# Only the tracing registration lets a container's annotations set runsc's flags (--allow-flag-override).
DEBUG_LOG = "dev.gvisor.flag.debug-log"


@contextmanager
def engine_errors(what: str) -> Iterator[None]:
    try:
        yield
    except docker.errors.ImageNotFound as e:
        raise ImageMissing(f"{what}: {e.explanation or e}") from e
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as e:
        raise EngineError(f"{what}: {e}") from e


class DockerChannel:
    """Docker's attach stream.

    Each chunk has a header of 1 byte for the stream (1 stdout, 2 stderr), 3 zero bytes and 4 bytes of length.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray()

    def fileno(self) -> int:
        return self._sock.fileno()

    def receive(self) -> tuple[bytes, bytes] | None:
        with engine_errors("attach"):
            data = self._sock.recv(1 << 18)
        if not data:
            return None
        self._buffer += data
        parts: dict[int, list[bytes]] = {1: [], 2: []}
        position = 0
        while len(self._buffer) - position >= 8:
            end = position + 8 + int.from_bytes(self._buffer[position + 4 : position + 8], "big")
            if end > len(self._buffer):
                break
            stream, data = self._buffer[position], bytes(self._buffer[position + 8 : end])
            if stream not in parts:
                # Stream 3 carries an error message of Docker's.
                raise EngineError(f"attach: {data[:1000].decode(errors='replace')}")
            parts[stream].append(data)
            position = end
        del self._buffer[:position]
        return b"".join(parts[1]), b"".join(parts[2])

    def send(self, data: bytes) -> None:
        with engine_errors("attach"):
            self._sock.sendall(data)

    def close(self) -> None:
        self._sock.close()


def _client(timeout_s: int) -> docker.APIClient:
    # A fixed API version: negotiating it would cost every process another request.
    return docker.APIClient(base_url=settings.DOCKER_HOST, version="1.43", timeout=timeout_s, num_pools=8)


class DockerEngine:
    name = EngineName.DOCKER.value
    timeout_s = API_TIMEOUT_S

    def __init__(self) -> None:
        with engine_errors("docker"):
            self._api = _client(self.timeout_s)
            self._patient = _client(max(self.timeout_s, START_TIMEOUT_S))
        self._image_ids: dict[str, tuple[str, float]] = {}
        self._volumes: dict[str, list[str]] = {}
        self._runsc_path = ("", 0.0)

    def create(self, spec: SandboxSpec) -> str:
        with engine_errors(f"create {spec.image}"):
            config = container_config(spec, self._volumes_of(spec.image), self._cgroups)
            container = str(self._patient.create_container_from_config(config, container_name(spec))["Id"])
            if spec.program:
                self._api.put_archive(container, "/", packed(PROGRAM, spec.program))
            return container

    @functools.cached_property
    def _cgroups(self) -> dict[str, Any]:
        info = self._api.info()
        return cgroup_of_docker(str(info["CgroupDriver"]), str(info.get("CgroupVersion", "1")))

    def _volumes_of(self, image: str) -> list[str]:
        # Cached for good: sandboxes are started by content id, which always names the same image.
        if image not in self._volumes:
            self._volumes[image] = list(self._api.inspect_image(image)["Config"].get("Volumes") or ())
        return self._volumes[image]

    def start(self, container_id: str) -> None:
        with engine_errors("start"):
            self._patient.start(container_id)

    def attach(self, container_id: str) -> DockerChannel:
        with engine_errors("attach"):
            wrapper = self._api.attach_socket(
                container_id, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            )
            # docker-py returns a reader that owns the socket. Duplicate the socket: the channel needs both directions
            # and a lifetime of its own.
            sock = wrapper._sock.dup()
            # Close the response, not only its reader: Python 3.13 warns about a response whose reader was closed.
            wrapper._response.close()
        sock.settimeout(API_TIMEOUT_S)
        return DockerChannel(sock)

    def kill(self, container_id: str) -> None:
        with engine_errors("kill"), _already_gone():
            self._api.kill(container_id)

    def remove(self, container_id: str, *, patience_s: int = 0) -> None:
        with engine_errors("remove"), _already_gone():
            if patience_s:
                with suppress(requests.exceptions.RequestException):
                    self._api.wait(container_id, timeout=patience_s)
            self._api.remove_container(container_id, force=True, v=True)

    def state_after_end(self, container_id: str) -> ContainerState:
        with engine_errors("inspect"):
            try:
                # Docker notices the end of the container a moment after its stream closes.
                self._api.wait(container_id, timeout=END_TIMEOUT_S)
            except requests.exceptions.RequestException:
                pass  # still running, as inspect below will report
            except docker.errors.NotFound:
                return ContainerState(running=False, exit_code=None, oom_killed=False)
            state = self._api.inspect_container(container_id)["State"]
        return ContainerState(state["Running"], state["ExitCode"], state["OOMKilled"])

    def containers(self, kind: str = "sandbox") -> list[Container]:
        filters = {"label": [f"{settings.SANDBOX_LABEL}={settings.SANDBOX_NODE}", f"{KIND_LABEL}={kind}"]}
        with engine_errors("list"):
            found = self._api.containers(all=True, filters=filters)
        return [Container(c["Id"], c["Labels"].get(ROW_LABEL, ""), c["State"] == "running") for c in found]

    def image_id(self, image: str) -> str:
        # Cached for IMAGE_ID_S: every sandbox asks, and only builds change the answer.
        known, until = self._image_ids.get(image, ("", 0.0))
        if time.monotonic() < until:
            return known
        with engine_errors(f"image {image}"):
            found = str(self._api.inspect_image(image)["Id"])
        self._image_ids[image] = found, time.monotonic() + IMAGE_ID_S
        return found

    def export(self, image_id: str, archive: IO[bytes]) -> dict[str, Any]:
        """Write the image's file system as a tar archive; return its configuration, as Docker describes it."""
        with engine_errors(f"export {image_id}"):
            found = dict(self._api.inspect_image(image_id)["Config"])
            # Never started. Labelled as the sandboxes are, so that the keeper removes what a dead process left.
            labels = {settings.SANDBOX_LABEL: settings.SANDBOX_NODE, KIND_LABEL: "sandbox"}
            config = {"Image": image_id, "Labels": labels, "Entrypoint": ["none"], "NetworkDisabled": True}
            container = str(self._api.create_container_from_config(config)["Id"])
            try:
                for chunk in self._api.export(container):
                    archive.write(chunk)
            finally:
                self._api.remove_container(container, force=True, v=True)
        return found

    def version(self) -> str:
        # A runsc that `make` did not install may have another path here.
        for path_of in (self._runsc, lambda: f"{HOST_BIN}/runsc"):
            with suppress(OSError, EngineError):
                path = path_of()
                return _version_of(path, os.stat(path).st_mtime_ns)
        return ""

    def _runsc(self) -> str:
        """Return the path by which Docker starts gVisor. Cached like the images: `make` may register a newer one."""
        known, until = self._runsc_path
        if time.monotonic() < until:
            return known
        found = str(self.info()["Runtimes"].get(settings.SANDBOX_GVISOR_RUNTIME, {}).get("path", ""))
        self._runsc_path = found, time.monotonic() + IMAGE_ID_S
        return found

    def info(self) -> dict[str, Any]:
        """Return Docker's /info, for the doctor."""
        with engine_errors("info"):
            return dict(self._api.info())


@contextmanager
def _already_gone() -> Iterator[None]:
    """Ignore 404 (gone) and 409 (being removed, or not running)."""
    try:
        yield
    except docker.errors.APIError as e:
        if e.status_code not in (404, 409):
            raise


def container_name(spec: SandboxSpec) -> str:
    """Return a name that tells in `docker ps` what the container is: node, kind and row, with a random end."""
    kind, row = spec.labels.get(KIND_LABEL, "sandbox"), spec.labels.get(ROW_LABEL) or "0"
    readable = re.sub(r"[^a-zA-Z0-9_.-]", "-", f"{settings.SANDBOX_NODE}-{kind}-{row}")
    return f"{settings.SANDBOX_LABEL}-{readable}-{secrets.token_hex(3)}"


def container_config(
    spec: SandboxSpec, volumes: Sequence[str] = (), cgroups: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the container's configuration. tests/sandboxes asserts each flag on a live container."""
    limits = spec.limits
    ulimits = [
        # Enforced inside the guest, per user: stops a fork bomb.
        Ulimit(name="nproc", soft=limits.processes, hard=limits.processes),
        Ulimit(name="nofile", soft=limits.open_files, hard=limits.open_files),
        # No file can be larger than /workspace.
        Ulimit(name="fsize", soft=limits.workspace_bytes, hard=limits.workspace_bytes),
        Ulimit(name="core", soft=0, hard=0),
    ]
    memory_tmpfs = "rw,exec,nosuid,nodev"
    return {
        "Image": spec.image,
        **_first_process(spec),
        "Hostname": HOSTNAME,
        "Env": [f"{name}={value}" for name, value in ({"HOME": HOME} | dict(spec.environment)).items()],
        "Labels": {
            settings.SANDBOX_LABEL: settings.SANDBOX_NODE,  # finds containers without a row, of this node only
            KIND_LABEL: "sandbox",
            **spec.labels,
        },
        "WorkingDir": WORKSPACE,
        # The runner is root and runs the program as uid 65534 (see docs/runner-protocol.md).
        "User": f"{NOBODY}:{NOBODY}" if spec.as_nobody else "0:0",
        # Docker would run the image's health check inside the sandbox, beside the program.
        "Healthcheck": {"Test": ["NONE"]},
        "NetworkDisabled": True,  # otherwise Docker makes a network namespace before runsc makes another
        "OpenStdin": True,
        "StdinOnce": False,  # the keeper attaches first and detaches; the worker attaches later
        "HostConfig": {
            # gVisor is the barrier.
            "Runtime": _registration(spec),
            **({"Annotations": {DEBUG_LOG: spec.trace_to}} if spec.trace_to else {}),
            # Names and a door are all that a sandbox sees of the host, and it can change neither. The sources must
            # exist: Docker creates none for a mount.
            "Mounts": [
                _mounted(settings.SANDBOX_HOSTS_FILE, "/etc/hosts"),
                *([_mounted(spec.door, DOOR)] if spec.door else []),
            ],
            "NetworkMode": "none",  # nothing to attack, nowhere to send to
            "ReadonlyRootfs": not spec.program,  # a run cannot change what its interpreter loads
            "Tmpfs": {
                # Volumes that the image declares would otherwise be folders on the host's disk, without a size limit.
                **dict.fromkeys(volumes, f"{memory_tmpfs},size={limits.tmp_bytes}"),
                # The only writable places. All have a size limit, count towards memory, and end with the sandbox.
                WORKSPACE: f"{memory_tmpfs},size={limits.workspace_bytes},uid={NOBODY},gid={NOBODY},mode=0700",
                HOME: f"{memory_tmpfs},size={limits.workspace_bytes},uid={NOBODY},gid={NOBODY},mode=0700",
                "/tmp": f"{memory_tmpfs},size={limits.tmp_bytes},mode=1777",  # noqa: S108
                # The worker's result. Nobody lists the folder, and nobody removes another user's file.
                RESULTS: f"{memory_tmpfs},size={limits.workspace_bytes},mode=1733",
            },
            "CapDrop": ["ALL"],
            "CapAdd": _granted(spec),
            "SecurityOpt": ["no-new-privileges:true", f"seccomp={spec.seccomp}"],
            "Memory": limits.memory_bytes,
            "MemorySwap": limits.memory_bytes,  # equal to Memory: no swap
            # A busy loop gets its share, not the whole node. NanoCpus would be refused beyond the cores of the host.
            "CpuPeriod": CPU_PERIOD_US,
            "CpuQuota": int(limits.cpus * CPU_PERIOD_US),
            **(cgroups or {}),
            "PidsLimit": PIDS_BASE + PIDS_PER_PROCESS * limits.processes,
            "Ulimits": ulimits,
            "LogConfig": {"Type": "none"},  # output belongs to the execution, not to a log file
            # A /dev/shm of its own, for semaphores and shared memory between the program's processes.
            "IpcMode": "private",
            "ShmSize": limits.workspace_bytes,
            "RestartPolicy": {"Name": "no"},
            "AutoRemove": False,  # the exit state must still be readable after the end
        },
    }


def _granted(spec: SandboxSpec) -> list[str]:
    return ["ALL"] if spec.program and spec.capable else list(capabilities(spec))


def _registration(spec: SandboxSpec) -> str:
    if spec.trace_to:
        return settings.SANDBOX_GVISOR_TRACE_RUNTIME  # cannot open a door: a traced program has no egress
    return settings.SANDBOX_GVISOR_EGRESS_RUNTIME if spec.door else settings.SANDBOX_GVISOR_RUNTIME


def _mounted(source: str, target: str) -> dict[str, Any]:
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": True}


def _first_process(spec: SandboxSpec) -> dict[str, Any]:
    if spec.program:
        return {"Entrypoint": [f"/{PROGRAM}"], "Cmd": []}
    if spec.command:
        return {"Entrypoint": list(spec.command)}
    return {"Cmd": [json.dumps(spec.runner_config)]}


def packed(name: str, content: bytes) -> bytes:
    """Return an executable file as a tar archive, the form in which Docker accepts files."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), 0o755
        tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


@functools.lru_cache(maxsize=2)
def _version_of(path: str, _changed_at: int) -> str:
    # The modification time is part of the cache key: an upgrade of a package replaces the file.
    return gvisor.version_of(path)


@functools.cache
def get_engine() -> DockerEngine:
    return DockerEngine()
