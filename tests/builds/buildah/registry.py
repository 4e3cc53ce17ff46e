"""A registry on loopback that asks for a password: Debian's docker-registry."""

import base64
import json
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from tests.live import eventually, free_port

USER, PASSWORD = "builder", "planted-registry-password"
# bcrypt of PASSWORD, the one hash that a registry takes.
HASH = "$2b$05$abcdefghijklmnopqrstuu7.Rffb/e3GvgNr9ynXYVmPMI0ht.mgC"
MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


@dataclass(frozen=True)
class Registry:
    """`name`: host:port/prefix. `auth`: Docker's config.json with its password."""

    name: str
    auth: Path

    @property
    def host(self) -> str:
        return self.name.partition("/")[0]

    def push(self, image: str) -> None:
        """Push an image of Docker's: sandbox-platform/x:latest becomes NAME/x:latest."""
        target = f"docker://{self.name}/{image.rpartition('/')[2]}"
        with tempfile.NamedTemporaryFile(suffix=".tar") as archive, closing(docker.from_env()) as client:
            for chunk in client.api.get_image(image):
                archive.write(chunk)
            archive.flush()
            options = ["--quiet", "--dest-tls-verify=false", f"--dest-authfile={self.auth}"]
            subprocess.run(["skopeo", "copy", *options, f"docker-archive:{archive.name}", target], check=True)

    def manifest(self, repository: str, reference: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get(f"{repository}/manifests/{reference}"))
        return found

    def get(self, path: str) -> bytes:
        prefix = self.name.partition("/")[2]
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        headers = {"Authorization": f"Basic {pair}", "Accept": MANIFESTS}
        request = urllib.request.Request(f"http://{self.host}/v2/{prefix}/{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            content: bytes = answer.read()
            return content


@contextmanager
def registry(folder: Path) -> Iterator[Registry]:
    port = free_port()
    passwords, config, auth = folder / "htpasswd", folder / "registry.yml", folder / "auth.json"
    passwords.write_text(f"{USER}:{HASH}\n")
    settings = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}},
        "http": {"addr": f"127.0.0.1:{port}"},
        "auth": {"htpasswd": {"realm": "tests", "path": str(passwords)}},
    }
    config.write_text(json.dumps(settings))
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    auth.write_text(json.dumps({"auths": {f"127.0.0.1:{port}": {"auth": pair}}}))
    with open(folder / "registry.log", "wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
    there = Registry(f"127.0.0.1:{port}/tests", auth)
    try:
        eventually(lambda: _answers(there), f"the registry answers; its log is in {folder}", 30)
        yield there
    finally:
        process.terminate()
        process.wait(30)


def _answers(there: Registry) -> bool:
    try:
        urllib.request.urlopen(f"http://{there.host}/v2/", timeout=5).close()
    except urllib.error.HTTPError as e:
        return e.code == 401
    except OSError:
        return False
    return False
