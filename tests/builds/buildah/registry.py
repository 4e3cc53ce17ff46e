"""A registry on loopback that asks for a password, with images of this machine's Docker."""

import base64
import json
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import requests

from tests.sandboxes.sources.running_registry import Registry

USER, PASSWORD = "builder", "planted-registry-password"
# bcrypt of PASSWORD, the one hash that a registry takes.
HASH = "$2b$05$abcdefghijklmnopqrstuu7.Rffb/e3GvgNr9ynXYVmPMI0ht.mgC"
MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


@dataclass(frozen=True)
class Guarded:
    """`name`: host:port/prefix. `auth`: Docker's config.json with its password."""

    name: str
    auth: Path
    running: Registry

    def push(self, image: str) -> None:
        """Push an image of Docker's: sandbox-platform/x:latest becomes NAME/x:latest."""
        with tempfile.NamedTemporaryFile(suffix=".tar") as archive, closing(docker.from_env()) as client:
            for chunk in client.api.get_image(image):
                archive.write(chunk)
            archive.flush()
            source = f"docker-archive:{archive.name}"
            self.running.copy(source, image.rpartition("/")[2], f"--dest-authfile={self.auth}")

    def manifest(self, repository: str, reference: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get(f"{repository}/manifests/{reference}"))
        return found

    def get(self, path: str) -> bytes:
        host, _, prefix = self.name.partition("/")
        url = f"http://{host}/v2/{prefix}/{path}"
        answer = requests.get(url, headers={"Accept": MANIFESTS}, auth=(USER, PASSWORD), timeout=30)
        answer.raise_for_status()
        return answer.content


@contextmanager
def guarded_registry(folder: Path) -> Iterator[Guarded]:
    passwords, auth = folder / "htpasswd", folder / "auth.json"
    passwords.write_text(f"{USER}:{HASH}\n")
    with Registry(folder / "registry", users=passwords) as running:
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        auth.write_text(json.dumps({"auths": {f"localhost:{running.port}": {"auth": pair}}}))
        yield Guarded(running.prefix, auth, running)
