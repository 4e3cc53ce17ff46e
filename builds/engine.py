"""The interface of a builder, which makes images: docker_engine.DockerBuildEngine, or buildah.engine.BuildahEngine."""

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from sandboxes.engine import Channel, ContainerState

# In the build's container, a copy of the runtime's image.
INSIDE = "/run/build"
# In the fetching container.
FETCH = "/fetch"
SECRETS = "/run/secrets"
DOOR = "/run/door"
# The user of the fetching image; see images/fetch/Dockerfile.
FETCHER = 10001
# Installing a wheel or a folder of npm's executes no code of a package (see inside/build.sh). dpkg and the scripts of
# Debian packages need these capabilities to set owners and permissions of files.
CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID"]
MEMORY_BYTES = 2 * 1024**3
DEFAULTS_BYTES = 64 * 1024

# Loaded when it is chosen: a process with one of them has no use for the other.
ENGINES = {"docker": "builds.docker_engine.DockerBuildEngine", "buildah": "builds.buildah.engine.BuildahEngine"}


class BuildEngine(Protocol):
    """Every method raises EngineError when the builder fails, and has a time limit.

    A container is a copy of an image's file system in which a program may run, several times one after the other.
    """

    def pull(self, reference: str) -> Iterator[str]:
        """Pull the image, and yield messages about its progress."""

    def image(self, reference: str) -> dict[str, Any]:
        """Return Docker's description of an image: Id, RepoDigests, Config. Raises ImageMissing."""

    def create_builder(self, image_id: str, build_id: int) -> str:
        """Create a container of the runtime's image, without a network, that runs inside/build.sh; return its id."""

    def create_forwarder(self, fetch_image_id: str, build_id: int) -> str:
        """Create what forwards to mirrors; return its id. It forwards nothing before it has routes."""

    def defaults(self, forwarder: str) -> dict[str, str]:
        """Return where the fetching image's installers fetch from by default."""

    def route(self, forwarder: str, routes: Mapping[str, Mapping[str, str]]) -> None:
        """Tell the forwarder its routes, before its start; see images/fetch/forwarder.py."""

    def create_fetcher(self, fetch_image_id: str, build_id: int, forwarder: str, files: Mapping[str, str]) -> str:
        """Create the container that fetches packages, with the secrets of mirrors. Returns its id.

        It has no network: a forwarder's sockets are its only way out.
        """

    def put(self, container_id: str, folder: str, files: Mapping[str, str | bytes], *, owner: int = 0) -> None:
        """Write files below the folder, readable for their owner only."""

    def files(self, container_id: str, path: str, limit: int) -> dict[str, bytes]:
        """Return a file, or the files of a folder, by path: none if the path does not exist.

        Raises ValueError beyond `limit` bytes.
        """

    def archive(self, container_id: str, path: str) -> Iterator[bytes]:
        """Yield the folder as a tar archive; nothing if it does not exist."""

    def put_archive(self, container_id: str, folder: str, chunks: Iterable[bytes]) -> None: ...

    def attach(self, container_id: str) -> Channel:
        """Open the channel of the next start, before it."""

    def start(self, container_id: str) -> None: ...

    def state_after_end(self, container_id: str) -> ContainerState:
        """Wait briefly for a program whose output has ended, and return its state."""

    def remove(self, container_id: str) -> None:
        """Kill and remove the container. Succeeds for one that is gone."""

    def commit(self, container_id: str, image_id: str, repository: str, tag: str) -> str:
        """Make the container an image that starts like the original one, and keep it; return its content id.

        The node's Docker keeps it under `repository:tag`, the registry under its content id.
        """

    def tag(self, image_id: str, repository: str, tag: str) -> None:
        """Keep the image as `commit` does."""

    def untag(self, name: str) -> None:
        """Give up an image of that name, where images have names. A missing name is success."""

    def tidy(self) -> None:
        """Remove what builds before left."""


@functools.cache
def get_build_engine() -> BuildEngine:
    engine: BuildEngine = import_string(ENGINES[settings.SANDBOX_BUILDER])()
    return engine
