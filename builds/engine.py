"""The Docker operations of builds: images, and the containers in which packages are installed."""

import functools
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any

import docker
import docker.errors
from django.conf import settings

from sandboxes.docker_engine import DockerEngine, engine_errors
from sandboxes.layout import KIND_LABEL

# A commit writes everything that was installed, which takes long.
TIMEOUT_S = 600
BUILD_LABEL = f"{settings.SANDBOX_LABEL}.build"
SECRETS = "run/secrets"
# pip and npm execute no code of a package (see install.sh). dpkg and the scripts of Debian packages need these
# capabilities to set owners and permissions of files.
CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID"]
MEMORY_BYTES = 2 * 1024**3
PIDS = 1024
# Docker's default is 1024: runs get CPU before builds.
CPU_SHARES = 256


class BuildEngine(DockerEngine):
    timeout_s = TIMEOUT_S

    def pull(self, reference: str) -> Iterator[str]:
        """Pull the image, and yield Docker's progress messages, each once per layer and step."""
        with engine_errors(f"pull {reference}"):
            seen = set()
            for event in self._api.pull(*_name_and_tag(reference), stream=True, decode=True):
                if problem := event.get("error"):
                    raise docker.errors.APIError(problem)
                line = " ".join(filter(None, (event.get("id"), event.get("status"))))
                if line not in seen:
                    seen.add(line)
                    yield line

    def image(self, reference: str) -> dict[str, Any]:
        """Return Docker's description of an image. Raises ImageMissing."""
        with engine_errors(f"image {reference}"):
            return dict(self._api.inspect_image(reference))

    def create_builder(self, image_id: str, build_id: int, files: Mapping[str, str]) -> str:
        """Create a container of the image that will run install.sh, with the files beside it. Returns its id."""
        config = {
            "Image": image_id,
            "Entrypoint": ["/bin/sh", f"/{SECRETS}/install.sh"],
            "Cmd": [],
            "User": "0:0",
            "WorkingDir": "/",
            "Healthcheck": {"Test": ["NONE"]},
            "Labels": {
                settings.SANDBOX_LABEL: settings.SANDBOX_NODE,
                KIND_LABEL: "build",
                BUILD_LABEL: str(build_id),
            },
            "HostConfig": {
                # Not gVisor: where the kernel refuses its network stack, it has no network. See docs/builds.md.
                "Runtime": "runc",
                # The same network as for image builds: a mirror may be reachable only from the host.
                "NetworkMode": "host",
                "CapDrop": ["ALL"],
                "CapAdd": CAPABILITIES,
                "SecurityOpt": ["no-new-privileges:true"],
                "Memory": MEMORY_BYTES,
                "MemorySwap": MEMORY_BYTES,
                "PidsLimit": PIDS,
                "CpuShares": CPU_SHARES,
                "LogConfig": {"Type": "none"},
                "RestartPolicy": {"Name": "no"},
            },
        }
        with engine_errors(f"create {image_id}"):
            container_id = str(self._api.create_container_from_config(config)["Id"])
        with engine_errors("put files"):
            self._api.put_archive(container_id, "/", _archive(files))
        return container_id

    def commit(self, container_id: str, image_id: str, repository: str, tag: str) -> str:
        """Commit the container to an image that starts like the original image, and return the new image's id."""
        base = self.image(image_id)["Config"]
        changes = [
            f"{word} {json.dumps(base.get(key) or [])}"
            for word, key in (("ENTRYPOINT", "Entrypoint"), ("CMD", "Cmd"))
        ]
        changes.append(f"WORKDIR {base.get('WorkingDir') or '/'}")
        changes.append(f"USER {base.get('User') or '0'}")
        # Clear the builder's labels: containers of the image would inherit them and be removed as stray builders.
        changes += [f'LABEL {label}=""' for label in (settings.SANDBOX_LABEL, KIND_LABEL, BUILD_LABEL)]
        with engine_errors("commit"):
            return str(self._api.commit(container_id, repository, tag, changes=changes)["Id"])

    def tag(self, image_id: str, repository: str, tag: str) -> None:
        with engine_errors("tag"):
            self._api.tag(image_id, repository, tag)

    def untag(self, name: str) -> None:
        """Remove the name. Docker deletes an unnamed image unless a container uses it. A missing name is success."""
        with engine_errors("remove image"):
            try:
                self._api.remove_image(name)
            except docker.errors.APIError as e:
                if e.status_code != 404:
                    raise

    def tags(self, repository: str) -> list[str]:
        """Return all names of the form repository:tag."""
        with engine_errors("images"):
            found = self._api.images(repository)
        return [name for image in found for name in image["RepoTags"] or () if name.startswith(f"{repository}:")]

    def builders(self) -> dict[str, str]:
        """Return this node's build containers: build id by container id."""
        filters = {"label": [f"{settings.SANDBOX_LABEL}={settings.SANDBOX_NODE}", f"{KIND_LABEL}=build"]}
        with engine_errors("list"):
            found = self._api.containers(all=True, filters=filters)
        return {c["Id"]: c["Labels"].get(BUILD_LABEL, "") for c in found}


def _name_and_tag(reference: str) -> tuple[str, str]:
    """Split a reference into name and tag or digest. Without a tag, Docker would pull all tags."""
    if "@" in reference:
        name, _, digest = reference.partition("@")
        return name, digest
    name, separator, tag = reference.rpartition(":")
    return (name, tag) if separator and "/" not in tag else (reference, "latest")


def _archive(files: Mapping[str, str]) -> bytes:
    """Return a tar archive of the files, readable only by root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        folder = tarfile.TarInfo(SECRETS)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o700
        tar.addfile(folder)
        for name, text in files.items():
            content = text.encode()
            entry = tarfile.TarInfo(f"{SECRETS}/{name}")
            entry.size, entry.mode = len(content), 0o600
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@functools.cache
def get_build_engine() -> BuildEngine:
    return BuildEngine()
