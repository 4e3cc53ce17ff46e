"""A registry and a mirror of pip in a pod of the cluster, with no image but the platform's own.

The registry is Debian's: its program is copied into the pod, which has a C library of Debian. It asks for a password.
"""

import base64
import io
import json
import re
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts import push
from scripts.setup.registry import program
from tests.builds.buildah.registry import HASH, PASSWORD, USER
from tests.builds.local_mirrors import wheel
from tests.cluster.release import Object, Release, within

NAME = "supplies"
REGISTRY_PORT, MIRROR_PORT = 5000, 8080
PREFIX = "ours"
FOLDER = "/tmp/supplies"  # noqa: S108 -- in the pod
CONFIG = {
    "version": 0.1,
    "log": {"level": "error", "accesslog": {"disabled": True}},
    "storage": {"filesystem": {"rootdirectory": f"{FOLDER}/storage"}, "delete": {"enabled": True}},
    "http": {"addr": f":{REGISTRY_PORT}"},
    "auth": {"htpasswd": {"realm": "tests", "path": f"{FOLDER}/htpasswd"}},
}
START = (
    f"mkdir -p {FOLDER} && tar -C {FOLDER} -x && cd {FOLDER} && "
    "{ ./docker-registry serve config.json >registry.log 2>&1 & "
    f"python3 -m http.server {MIRROR_PORT} --directory mirror >mirror.log 2>&1 & }}"
)


class Supplies:
    def __init__(self, release: Release, image: str, policy: str) -> None:
        self._release = release
        self.host = f"{NAME}.{release.namespace}.svc.cluster.local"
        self.registry = f"{self.host}:{REGISTRY_PORT}/{PREFIX}"
        pod = {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME, "labels": {"app": NAME}},
            "spec": {"containers": [
                {"name": NAME, "image": image, "imagePullPolicy": policy, "command": ["sleep", "86400"]}
            ]},
        }  # fmt: skip
        service = {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME},
            "spec": {"clusterIP": "None", "selector": {"app": NAME}, "ports": [
                {"name": "registry", "port": REGISTRY_PORT}, {"name": "mirror", "port": MIRROR_PORT}
            ]},
        }  # fmt: skip
        release.apply(pod, service, *self._secrets())
        release.until_pod_is_ready(NAME)
        command = ["kubectl", "-n", release.namespace, "exec", "-i", NAME, "--", "sh", "-ec", START]
        subprocess.run(command, input=_packed(), check=True, timeout=120, capture_output=True)

    def _secrets(self) -> Iterator[Object]:
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        logins = json.dumps({"auths": {f"{self.host}:{REGISTRY_PORT}": {"auth": pair}}})
        yield _secret("registry", {".dockerconfigjson": logins}, kind="kubernetes.io/dockerconfigjson")
        index = f"http://{self.host}:{MIRROR_PORT}/simple"
        empty = dict.fromkeys(("npmrc", "apt.sources", "apt_conf", "environment", "ca"), "")
        pip = {"pip_conf": f"[global]\nindex-url = {index}\ntrusted-host = {self.host}\n"}
        yield _secret("mirrors", pip | empty)

    @contextmanager
    def _forwarded(self) -> Iterator[int]:
        command = ["kubectl", "-n", self._release.namespace, "port-forward", f"pod/{NAME}", f":{REGISTRY_PORT}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
                assert found
                port = int(found[1])
                within(60, lambda: _answers(port))
                yield port
            finally:
                process.terminate()

    def push(self, folder: Path, *names: str) -> None:
        """By `make push`, from this machine's Docker."""
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        with self._forwarded() as port:
            logins = folder / "auth.json"
            logins.write_text(json.dumps({"auths": {f"localhost:{port}": {"auth": pair}}}))
            assert push.main([
                "--registry", f"localhost:{port}/{PREFIX}", "--only", ",".join(names), "--plain-http",
                "--auth-file", str(logins), "--values", str(folder / "values.yaml"),
            ]) == 0  # fmt: skip


def _answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def _secret(name: str, values: dict[str, str], kind: str = "Opaque") -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind, "stringData": values}


def _packed() -> bytes:
    binary = program()
    assert binary, "docker-registry is missing: `make test` installs it"
    file, content = wheel("greeting", "1.0", code="def greet():\n    return 'hello'\n")
    files = {
        "docker-registry": Path(binary).read_bytes(),
        "config.json": json.dumps(CONFIG).encode(),  # which is YAML, too
        "htpasswd": f"{USER}:{HASH}\n".encode(),
        "mirror/simple/greeting/index.html": f'<a href="../../{file}">{file}</a>'.encode(),
        f"mirror/{file}": content,
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()
