"""The builder that uses the node's Docker: see builds.engine."""

import json
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import docker
import docker.errors
from django.conf import settings

from builds.archives import packed, unpacked
from builds.engine import CAPABILITIES, DEFAULTS_BYTES, DOOR, FETCHER, INSIDE, MEMORY_BYTES, SECRETS
from sandboxes.docker_engine import DockerEngine, engine_errors
from sandboxes.layout import KIND_LABEL

# A commit writes everything that was installed, which takes long.
TIMEOUT_S = 600
BUILD_LABEL = f"{settings.SANDBOX_LABEL}.build"
PIDS = 1024
# Docker's default is 1024: runs get CPU before builds.
CPU_SHARES = 256
FORWARDER_BYTES = 256 * 1024**2


class DockerBuildEngine(DockerEngine):
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

    def create_builder(self, image_id: str, build_id: int) -> str:
        """Create a container of the runtime's image, without a network, that runs inside/build.sh; return its id."""
        config = {
            "Entrypoint": ["/bin/sh", f"{INSIDE}/build.sh"],
            "Cmd": [],
            "User": "0:0",
            "WorkingDir": "/",
            "NetworkDisabled": True,
        }
        return self._create(image_id, build_id, config, {"NetworkMode": "none", "CapAdd": CAPABILITIES})

    def create_forwarder(self, fetch_image_id: str, build_id: int) -> str:
        """Create the container that forwards to mirrors, from the host's network. Returns its id.

        It forwards nothing before it has routes.
        """
        config = {
            "Entrypoint": ["/usr/bin/python3", "-I", "-B", "/opt/fetch/forwarder.py"],
            # Its sockets. Docker removes the volume with the last container that uses it.
            "Volumes": {DOOR: {}},
        }
        # A mirror may be reachable only from the host.
        host = {"NetworkMode": "host", "Memory": FORWARDER_BYTES, "MemorySwap": FORWARDER_BYTES}
        return self._create(fetch_image_id, build_id, config, host)

    def defaults(self, forwarder: str) -> dict[str, str]:
        """Return where the fetching image's installers fetch from by default."""
        (content,) = self.files(forwarder, "/opt/fetch/defaults.json", DEFAULTS_BYTES).values()
        return dict(json.loads(content))

    def route(self, forwarder: str, routes: Mapping[str, Mapping[str, str]]) -> None:
        self.put(forwarder, "/run", {"routes.json": json.dumps(routes)}, owner=FETCHER)

    def create_fetcher(self, fetch_image_id: str, build_id: int, forwarder: str, files: Mapping[str, str]) -> str:
        """Create the container that fetches packages, with the secrets of mirrors. Returns its id.

        It has no network: a forwarder's sockets are its only way out.
        """
        config: dict[str, Any] = {"NetworkDisabled": True}
        container = self._create(
            fetch_image_id, build_id, config, {"NetworkMode": "none", "VolumesFrom": [f"{forwarder}:ro"]}
        )
        self.put(container, SECRETS, files, owner=FETCHER)
        return container

    def _create(self, image_id: str, build_id: int, config: Mapping[str, Any], host: Mapping[str, Any]) -> str:
        whole = {
            "Image": image_id,
            "Healthcheck": {"Test": ["NONE"]},
            "Labels": {
                settings.SANDBOX_LABEL: settings.SANDBOX_NODE,
                KIND_LABEL: "build",
                BUILD_LABEL: str(build_id),
            },
            **config,
            "HostConfig": {
                # Not gVisor: on nodes with the direct engine Docker does not know it.
                "Runtime": "runc",
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges:true"],
                "Memory": MEMORY_BYTES,
                "MemorySwap": MEMORY_BYTES,
                "PidsLimit": PIDS,
                "CpuShares": CPU_SHARES,
                "LogConfig": {"Type": "none"},
                "RestartPolicy": {"Name": "no"},
                **host,
            },
        }
        with engine_errors(f"create {image_id}"):
            return str(self._api.create_container_from_config(whole)["Id"])

    def put(self, container_id: str, folder: str, files: Mapping[str, str | bytes], *, owner: int = 0) -> None:
        """Write files below the folder, readable for their owner only."""
        with engine_errors("put files"):
            self._api.put_archive(container_id, "/", packed(folder, files, owner=owner))

    def files(self, container_id: str, path: str, limit: int) -> dict[str, bytes]:
        """Return a file, or the files of a folder, by path: none if the path does not exist.

        Raises ValueError beyond `limit` bytes.
        """
        with engine_errors(f"read {path}"):
            try:
                chunks, _ = self._api.get_archive(container_id, path)
            except docker.errors.NotFound:
                return {}
            return unpacked(chunks, posixpath.dirname(path), limit)

    def archive(self, container_id: str, path: str) -> Iterator[bytes]:
        """Yield the folder as a tar archive; nothing if it does not exist."""
        with engine_errors(f"read {path}"), suppress(docker.errors.NotFound):
            yield from self._api.get_archive(container_id, path)[0]

    def put_archive(self, container_id: str, folder: str, chunks: Iterable[bytes]) -> None:
        with engine_errors("put files"):
            self._api.put_archive(container_id, folder, chunks)

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

    def tidy(self) -> None:
        """Do nothing: the keeper's job removes what interrupted builds left (builds.collection)."""

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
