"""The only module that calls `buildah`. It runs nothing of an image: it unpacks, commits and pushes."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings

from builds.buildah import references
from sandboxes.engine import EngineError

# An image of some gigabytes, and a slow registry.
TIMEOUT_S = 1200
SHOWN = 500


class Buildah:
    """`folder`: where images and containers are, which only one process may use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._certificates = folder / "certificates"
        self._settings = folder / "containers.conf"
        self._temporary = folder / "tmp"

    def pull(self, reference: str) -> Iterator[str]:
        """Pull the image, and yield buildah's messages. The last line is the image's id."""
        options = references.options(reference, self._certificates)
        command = self._command("pull", "--policy=always", *options, f"docker://{reference}")
        lines = []
        with self._started(command, stderr=subprocess.STDOUT) as process:
            assert process.stdout is not None  # noqa: S101
            # A registry may accept a connection and say nothing.
            guard = threading.Timer(TIMEOUT_S, process.kill)
            guard.start()
            try:
                for line in process.stdout:
                    lines.append(line.rstrip())
                    yield lines[-1]
            except GeneratorExit:
                process.kill()
                raise
            finally:
                guard.cancel()
        if process.returncode:
            raise EngineError(f"pull {reference}: {' '.join(lines)[-SHOWN:]}")

    def inspect(self, image: str) -> dict[str, Any]:
        """Return buildah's description of an image that is here."""
        found: dict[str, Any] = json.loads(self._run("inspect", "--type=image", image))
        return found

    def create(self, image_id: str, name: str) -> Path:
        """Make a container of an image that is here. Return the folder of its file system."""
        self._run("from", "--pull-never", f"--name={name}", image_id.removeprefix("sha256:"))
        return Path(self._run("mount", name).strip())

    def remove(self, name: str) -> None:
        """Remove a container. One that is gone is success."""
        if name in self.containers():
            self._run("rm", name)

    def containers(self) -> list[str]:
        return [str(each["containername"]) for each in json.loads(self._run("containers", "--json") or "[]") or ()]

    def commit(self, name: str) -> str:
        """Make the container an image; return its content id."""
        written = self._folder / "image_id"
        self._run("commit", "--quiet", f"--iidfile={written}", name)
        return written.read_text().strip()

    def push(self, image_id: str, reference: str) -> str:
        """Push an image that is here, and return the digest by which the registry has it."""
        written = self._folder / "digest"
        options = references.options(reference, self._certificates)
        hexadecimal = image_id.removeprefix("sha256:")
        self._run("push", "--quiet", f"--digestfile={written}", *options, hexadecimal, f"docker://{reference}")
        return written.read_text().strip()

    def clear(self) -> None:
        """Remove all containers and images."""
        self._run("rm", "--all")
        self._run("rmi", "--all", "--force")

    def _command(self, *words: str) -> list[str]:
        path = shutil.which("buildah")
        if path is None:
            raise EngineError("buildah is missing here: see images/builder")
        storage = [f"--root={self._folder / 'storage'}", f"--runroot={self._folder / 'run'}"]
        return [path, *storage, f"--storage-driver={settings.SANDBOX_BUILD_STORAGE}", *words]

    def _started(self, command: list[str], stderr: int) -> "subprocess.Popen[str]":
        try:
            self._temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Otherwise folders in /run and /etc, where the builder's container may write nothing. buildah makes that
            # of networks at its start, though no build has one.
            networks = self._folder / "networks"
            self._settings.write_text(
                f'[engine]\ntmp_dir = "{self._temporary}"\n[network]\nnetwork_config_dir = "{networks}"\n'
            )
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                errors="replace",
                env=self._environment(),
            )
        except OSError as e:
            raise EngineError(f"buildah: {e}") from e

    def _environment(self) -> dict[str, str]:
        """Nothing of this process's environment: it has addresses of secrets. But the way to a registry."""
        proxies = {
            name: os.environ[name] for name in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY") if name in os.environ
        }
        folders = {
            "HOME": str(self._folder),
            "TMPDIR": str(self._temporary),
            "CONTAINERS_CONF": str(self._settings),
        }
        return {"PATH": os.environ.get("PATH", os.defpath), **folders, **proxies}

    def _run(self, *words: str) -> str:
        with self._started(self._command(*words), stderr=subprocess.PIPE) as process:
            try:
                out, err = process.communicate(timeout=TIMEOUT_S)
            except subprocess.TimeoutExpired as e:
                process.kill()
                raise EngineError(f"buildah {words[0]} took more than {TIMEOUT_S} s") from e
        if process.returncode:
            raise EngineError(f"buildah {words[0]}: {err.strip()[-SHOWN:]}")
        return out
