"""A registry of Debian's package docker-registry, on a port of its own."""

import json
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import requests

from scripts.setup.registry import program
from tests.sandboxes.sources.made import Made

PATIENCE_S = 30


class Registry:
    """`users`: a htpasswd file; `tls`: certificate and key. Without them, plain HTTP for everybody."""

    def __init__(
        self, folder: Path, *, users: Path | None = None, tls: tuple[Path, Path] | None = None, port: int = 0
    ) -> None:
        self.port = port or _free_port()
        self.prefix = f"localhost:{self.port}/ours"
        self._folder, self._users, self._tls = folder, users, tls
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Registry":
        binary = program()
        assert binary, "docker-registry is missing: `make prepare_tests` installs it"
        http: dict[str, object] = {"addr": f"localhost:{self.port}"}
        if self._tls:
            http["tls"] = {"certificate": str(self._tls[0]), "key": str(self._tls[1])}
        config: dict[str, object] = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self._folder)}, "delete": {"enabled": True}},
            "http": http,
        }
        if self._users:
            config["auth"] = {"htpasswd": {"realm": "tests", "path": str(self._users)}}
        path = self._folder.with_name(f"{self._folder.name}.json")
        path.write_text(json.dumps(config))  # which is YAML, too
        log = open(self._folder.with_name(f"{self._folder.name}.log"), "wb")  # noqa: SIM115
        self._process = subprocess.Popen([binary, "serve", path], stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("localhost", self.port), timeout=1):
                return self
            time.sleep(0.05)
        self.stop()
        raise AssertionError("the registry does not listen")

    def __exit__(
        self, _type: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(PATIENCE_S)

    def push(self, made: Made, name: str, *options: str) -> None:
        """Push an image as `PREFIX/name`. `options`: of skopeo copy."""
        archive = self._folder.with_name(f"push-{made.image_id[7:19]}.tar")
        made.write(archive)
        self.copy(f"oci-archive:{archive}", name, *options)

    def copy(self, source: str, name: str, *options: str) -> None:
        words = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", *options, source]
        done = subprocess.run(
            [*words, f"docker://{self.prefix}/{name}"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def put_index(self, name: str, tag: str, index: bytes) -> None:
        """Write an index of manifests that are there."""
        kind = {"Content-Type": "application/vnd.oci.image.index.v1+json"}
        requests.put(self._manifests(name, tag), data=index, headers=kind, timeout=PATIENCE_S).raise_for_status()

    def blob(self, digest: str) -> Path:
        """Return the file of a blob, for a test that damages it."""
        name = digest.removeprefix("sha256:")
        return self._folder / "docker/registry/v2/blobs/sha256" / name[:2] / name / "data"

    def remove(self, name: str, digest: str) -> None:
        requests.delete(self._manifests(name, digest), timeout=PATIENCE_S).raise_for_status()

    def _manifests(self, name: str, reference: str) -> str:
        host, _, prefix = self.prefix.partition("/")
        return f"http://{host}/v2/{prefix}/{name}/manifests/{reference}"


def _free_port() -> int:
    with socket.create_server(("localhost", 0)) as server:
        return int(server.getsockname()[1])
