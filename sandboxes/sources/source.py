"""The interface of a source of images, and the one that this node uses."""

import re
from typing import IO, Any, Protocol

from django.conf import settings

from sandboxes.engine import EngineError

DOCKER, REGISTRY, ARCHIVE = "docker", "registry", "archive"
# What to do about an image that a source does not have.
REMEDIES = {
    DOCKER: "run `make build`",
    REGISTRY: "push it to the registry, or disable the runtime",
    ARCHIVE: "put its archive into the folder SANDBOX_IMAGE_ARCHIVES, or disable the runtime",
}
CONTENT_ID = re.compile(r"sha256:[0-9a-f]{64}")


class SourceUnavailable(EngineError):
    """The source does not answer now, or not to this node. A later try may succeed."""


class Damaged(EngineError):
    """What the source has is not the image that it is said to be."""


class ImageSource(Protocol):
    """Every method raises EngineError, has a time limit, and can be called by several threads and processes."""

    def image_id(self, image: str) -> str:
        """Return the content id of a reference or an id: the SHA-256 of the image's configuration, as in Docker.

        Raises ImageMissing if the source has no such image, SourceUnavailable if it is not known now.
        """

    def export(self, image_id: str, archive: IO[bytes]) -> dict[str, Any]:
        """Write the image's file system as a tar archive; return its configuration, as Docker describes it."""


def image_source() -> ImageSource:
    """Return the source that SANDBOX_IMAGE_SOURCE names. Nothing but `docker` makes a client of Docker."""
    if settings.SANDBOX_IMAGE_SOURCE == REGISTRY:
        from sandboxes.sources.registry import RegistrySource

        return RegistrySource()
    if settings.SANDBOX_IMAGE_SOURCE == ARCHIVE:
        from sandboxes.sources.archive import ArchiveSource

        return ArchiveSource(settings.SANDBOX_IMAGE_ARCHIVES)
    from sandboxes.docker_engine import DockerEngine

    return DockerEngine()
