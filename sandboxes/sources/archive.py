"""Images from OCI archives in a folder, such as a volume: `runtime-python.tar` for each image that ends so."""

import tarfile
from pathlib import Path
from typing import IO, Any

from sandboxes.engine import EngineError, ImageMissing
from sandboxes.sources import oci, references
from sandboxes.sources.source import CONTENT_ID, Damaged, SourceUnavailable

# An archive by its path, time and size: what replaces it is read anew.
Key = tuple[str, int, int]
MADE_BY = "skopeo copy docker-daemon:IMAGE oci-archive:FILE"


class ArchiveSource:
    """See `source.ImageSource`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ids: dict[Key, str] = {}

    def image_id(self, image: str) -> str:
        if CONTENT_ID.fullmatch(image):
            self._with_id(image)
            return image
        return self._id_of(self._archive(image))

    def export(self, image_id: str, archive: IO[bytes]) -> dict[str, Any]:
        path = self._with_id(image_id)
        with _opened(path) as blobs:
            return oci.export(blobs, blobs.manifest(), image_id, archive)

    def _archive(self, image: str) -> Path:
        """Return the archive of a name: its last part, without tag and digest. Raises ImageMissing."""
        name = references.repository(image).rpartition("/")[2]
        if not references.NAME.fullmatch(image) or not name:
            raise ImageMissing(f"{image!r} is no name of an image")
        path = self._folder / f"{name}.tar"
        if not path.exists():
            self._look()
            raise ImageMissing(f"there is no archive {path} for {image}")
        return path

    def _look(self) -> list[Path]:
        try:
            return sorted(path for path in self._folder.iterdir() if path.suffix == ".tar")
        except OSError as e:
            raise SourceUnavailable(
                f"the folder of SANDBOX_IMAGE_ARCHIVES, {self._folder}, cannot be read: {e.strerror}"
            ) from e

    def _with_id(self, image_id: str) -> Path:
        damaged: EngineError | None = None
        for path in self._look():
            try:
                if self._id_of(path) == image_id:
                    return path
            except EngineError as e:
                damaged = e
        raise damaged or ImageMissing(f"no archive in {self._folder} has {image_id}")

    def _id_of(self, path: Path) -> str:
        try:
            found = path.stat()
        except OSError as e:
            raise SourceUnavailable(f"{path} cannot be read: {e.strerror}") from e
        key = (str(path), found.st_mtime_ns, found.st_size)
        if key not in self._ids:
            with _opened(path) as blobs:
                self._ids[key] = blobs.manifest().config
        return self._ids[key]


def _opened(path: Path) -> "_Archive":
    try:
        return _Archive(path, tarfile.open(path, "r:"))  # noqa: SIM115 -- closed with what is returned
    except tarfile.TarError as e:
        raise Damaged(f"{path} is no uncompressed tar archive, or damaged; make it by `{MADE_BY}`") from e
    except OSError as e:
        raise SourceUnavailable(f"{path} cannot be read: {e.strerror}") from e


class _Archive:
    """An OCI layout in a tar archive: index.json, and each blob by its digest."""

    def __init__(self, path: Path, tar: tarfile.TarFile) -> None:
        self._path, self._tar = path, tar

    def __enter__(self) -> "_Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    def manifest(self) -> oci.Manifest:
        with self._member("index.json") as file:
            data = file.read(oci.MOST_BYTES)
        for _ in range(oci.DEEPEST):
            found = oci.parsed(data, str(self._path))
            if not oci.is_index(found):
                return oci.manifest_of(data, str(self._path))
            data = oci.small(self, oci.of_this_machine(found, str(self._path)))
        raise Damaged(f"{self._path} is an index of indexes")

    def open(self, digest: str) -> IO[bytes]:
        return self._member(f"blobs/sha256/{digest.removeprefix('sha256:')}")

    def _member(self, name: str) -> IO[bytes]:
        try:
            # Some writers put `./` before each name.
            names = [name, f"./{name}"]
            found = next((one for one in self._tar.getmembers() if one.name in names), None)
            content = self._tar.extractfile(found) if found else None
        except (tarfile.TarError, EOFError) as e:
            raise Damaged(f"{self._path} is damaged, or was not copied whole: {e}") from e
        if content is None:
            raise Damaged(
                f"{self._path} has no {name}: it is no OCI archive, or not whole; make it by `{MADE_BY}`"
            )
        return content
