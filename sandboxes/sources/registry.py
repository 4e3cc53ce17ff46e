"""Images from a registry, each pinned by its digest. Nothing but skopeo reads from the network."""

import logging
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any

from django.conf import settings

from sandboxes.engine import EngineError, ImageMissing
from sandboxes.sources import oci, references, skopeo
from sandboxes.sources.references import Known, References
from sandboxes.sources.source import CONTENT_ID, Damaged, SourceUnavailable

logger = logging.getLogger(__name__)

# How long an answer of the registry counts. After that it still does, while the registry is asked again.
ASK_AGAIN_S = 60.0
# Every sandbox asks. Other processes of the node may have asked the registry meanwhile.
LOOK_AGAIN_S = 5.0


class RegistrySource:
    """See `source.ImageSource`."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder: Path = folder or settings.SANDBOX_IMAGE_DIR
        self._references = References(self._folder / "references")
        self._looked: dict[str, tuple[Known, float]] = {}

    def image_id(self, image: str) -> str:
        looked, until = self._looked.get(image, (None, 0.0))
        if looked and time.monotonic() < until:
            return looked.image_id
        if CONTENT_ID.fullmatch(image) and (known := self._references.of_id(image)):
            return known.image_id  # what a content id names never changes
        name = references.reference(image, settings.SANDBOX_IMAGE_REGISTRY)
        found = self._references.of_name(name)
        if found is None:
            found = self._ask(name, image)
        elif found.asked_at + ASK_AGAIN_S < references.now():
            # Nobody waits for it: while the registry is away, that would be half a minute.
            threading.Thread(target=self.refresh, args=(name,), daemon=True).start()
        self._looked[image] = found, time.monotonic() + LOOK_AGAIN_S
        return found.image_id

    def refresh(self, name: str) -> None:
        """Ask the registry again, unless another process does. A registry that does not answer changes nothing."""
        try:
            with self._references.asking(name, wait=False) as mine:
                known = self._references.of_name(name)
                if not mine or known is None:
                    return
                self._references.touch(name, known, references.now())
                try:
                    self._references.write(name, pinned(name))
                except ImageMissing as e:
                    logger.warning("%s", e)
                    self._references.forget(name)
        except (EngineError, OSError) as e:
            logger.warning("image %s: this node goes on with the one that it knows: %s", name, e)

    def _ask(self, name: str, image: str) -> Known:
        try:
            with self._references.asking(name, wait=True):
                if found := self._references.of_name(name):
                    return found  # asked while this process waited
                found = pinned(name)
                if CONTENT_ID.fullmatch(image) and found.image_id != image:
                    raise Damaged(f"{name} is not the image that its tag says, but {found.image_id}")
                self._references.write(name, found)
                return found
        except OSError as e:
            raise EngineError(f"image {image}: {e}") from e

    def export(self, image_id: str, archive: IO[bytes]) -> dict[str, Any]:
        known = self._references.of_id(image_id)
        if known is None:
            raise ImageMissing(f"this node does not know where the registry has {image_id}")
        digest = known.pinned.partition("@")[2]
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="fetch.") as work:
            fetched = Path(work, "image")
            fetched.mkdir()
            skopeo.copy(known.pinned, fetched)
            blobs = _Fetched(fetched)
            manifest = oci.manifest_of(blobs.manifest(digest), known.pinned)
            return oci.export(blobs, manifest, image_id, archive)


def pinned(name: str) -> Known:
    """Ask the registry which image a name means on a machine like this one. Raises as skopeo.manifest, and Damaged."""
    where = references.repository(name)
    data = skopeo.manifest(name)
    digest = oci.digest_of(data)
    if (wanted := name.partition("@")[2]) and wanted != digest:
        raise Damaged(f"the registry answers with {digest} for {name}")
    for _ in range(oci.DEEPEST):
        found = oci.parsed(data, name)
        if not oci.is_index(found):
            manifest = oci.manifest_of(data, name)
            return Known(manifest.config, f"{where}@{digest}", references.now())
        digest = oci.of_this_machine(found, name)
        data = skopeo.manifest(f"{where}@{digest}")
        if oci.digest_of(data) != digest:
            raise Damaged(f"the registry answers with {oci.digest_of(data)} for {where}@{digest}")
    raise Damaged(f"{name} is an index of indexes")


class _Fetched:
    """What skopeo wrote: the manifest, and each blob in a file that is named by its digest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def manifest(self, digest: str) -> bytes:
        try:
            data = (self._folder / "manifest.json").read_bytes()
        except FileNotFoundError as e:
            raise SourceUnavailable("skopeo wrote no manifest") from e
        if oci.digest_of(data) != digest:
            raise Damaged(f"the fetched manifest is not {digest}")
        return data

    def open(self, digest: str) -> IO[bytes]:
        try:
            return open(self._folder / digest.removeprefix("sha256:"), "rb")
        except FileNotFoundError as e:
            raise Damaged(f"the fetched image lacks {digest}") from e
