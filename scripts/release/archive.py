"""Images as files: what `docker save` writes, and a folder in the layout of OCI, from which Docker loads them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from scripts.release import layers
from scripts.release.layers import Layer
from scripts.setup.docker import command
from scripts.setup.host import SetupError, must

MEDIA = "application/vnd.oci.image"
# Of an image's configuration. The rest says how and when a builder made it.
KEPT = ("architecture", "variant", "os", "config")


@dataclass(frozen=True)
class Normal:
    """An image whose bytes follow from its files, its configuration and the time of the release."""

    digest: str  # of its manifest, which names all the rest: this is what two builds are compared by
    id: str  # of its configuration: what Docker calls the image's id
    manifest_size: int
    layers: tuple[Layer, ...]

    @property
    def size(self) -> int:
        return sum(layer.size for layer in self.layers)

    @property
    def status(self) -> bytes:
        """Return dpkg's list of packages, as a container of the image sees it."""
        return next((layer.status for layer in reversed(self.layers) if layer.status is not None), b"")

    @property
    def files(self) -> dict[str, str]:
        """Return a digest for each file, by the number of its layer and its path."""
        return {f"{at} {path}": seen for at, layer in enumerate(self.layers) for path, seen in layer.files.items()}


class Layout:
    """A folder of images in the layout of OCI. Images share the layers that they have in common."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.blobs = folder, folder / "blobs/sha256"
        self.blobs.mkdir(parents=True, exist_ok=True)

    def blob(self, digest: str) -> Path:
        return self.blobs / digest.removeprefix("sha256:")

    def layer(self, source: IO[bytes], epoch: int) -> Layer:
        with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as out:
            layer = layers.rewrite(source, out, epoch)
        path = Path(out.name)
        path.chmod(0o644)
        path.rename(self.blob(layer.digest))
        return layer

    def json(self, content: object) -> tuple[str, int]:
        data = canonical(content)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.blob(digest).write_bytes(data)
        return digest, len(data)

    def add(self, config: Mapping[str, Any], sources: Iterable[IO[bytes]], epoch: int) -> Normal:
        """Write an image anew: its configuration and its layers, from the lowest to the uppermost."""
        written = tuple(self.layer(source, epoch) for source in sources)
        image, size = self.json(configuration(config, [layer.digest for layer in written], epoch))
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{MEDIA}.manifest.v1+json",
            "config": {"mediaType": f"{MEDIA}.config.v1+json", "digest": image, "size": size},
            "layers": [
                {"mediaType": f"{MEDIA}.layer.v1.tar", "digest": layer.digest, "size": layer.size}
                for layer in written
            ],
        }
        digest, manifest_size = self.json(manifest)
        return Normal(digest, image, manifest_size, written)

    def write_index(self, images: Mapping[str, Normal]) -> None:
        """Name the images, for OCI's tools and for `docker load`."""
        index = {
            "schemaVersion": 2,
            "mediaType": f"{MEDIA}.index.v1+json",
            "manifests": [
                {
                    "mediaType": f"{MEDIA}.manifest.v1+json",
                    "digest": image.digest,
                    "size": image.manifest_size,
                    "annotations": {"io.containerd.image.name": tag, "org.opencontainers.image.ref.name": tag},
                }
                for tag, image in sorted(images.items())
            ],
        }
        (self.folder / "index.json").write_bytes(canonical(index))
        (self.folder / "oci-layout").write_bytes(canonical({"imageLayoutVersion": "1.0.0"}))
        (self.folder / "manifest.json").write_bytes(canonical(for_docker(images)))


def for_docker(images: Mapping[str, Normal]) -> list[dict[str, object]]:
    """Return what `docker load` reads: the manifest.json of an archive."""

    def path(digest: str) -> str:
        return f"blobs/{digest.replace(':', '/')}"

    return [
        {"Config": path(image.id), "RepoTags": [tag], "Layers": [path(layer.digest) for layer in image.layers]}
        for tag, image in sorted(images.items())
    ]


def canonical(content: object) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def configuration(old: Mapping[str, Any], digests: Sequence[str], epoch: int) -> dict[str, Any]:
    """Return an image's configuration with these layers and no times but that of the release."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    new = {name: old[name] for name in KEPT if old.get(name)}
    new["created"] = moment
    new["rootfs"] = {"type": "layers", "diff_ids": list(digests)}
    new["history"] = [{**entry, "created": moment} for entry in old.get("history", ())]
    return new


def from_docker(tag: str, layout: Layout, epoch: int) -> Normal:
    """Write an image of this machine's Docker into a layout. Raises SetupError."""
    with tempfile.NamedTemporaryFile(dir=layout.folder, prefix="saved-") as saved:
        done = subprocess.run(command("save", tag), stdout=saved, stderr=subprocess.PIPE, check=False)
        if done.returncode != 0:
            raise SetupError(f"docker save {tag}", done.stderr.decode(errors="replace").strip(), "make release")
        return from_archive(Path(saved.name), layout, epoch)


def from_archive(path: Path, layout: Layout, epoch: int) -> Normal:
    """Write the image of a `docker save` archive into a layout."""
    with tarfile.open(path, mode="r:") as tar:

        def part(name: str) -> IO[bytes]:
            found = tar.extractfile(name)
            if found is None:
                raise SetupError(str(path), f"{name} is no file", "make release")
            return found

        (listed,) = json.load(part("manifest.json"))
        config = json.load(part(listed["Config"]))
        return layout.add(config, (part(name) for name in listed["Layers"]), epoch)


def load(folder: Path) -> None:
    """Let Docker load the images of a layout, under the tags of its index. Raises SetupError."""
    pipe = 'folder=$1; shift; tar -C "$folder" -cf - blobs manifest.json | "$@"'
    line: list[str | Path] = ["sh", "-c", pipe, "sh", folder, *command("load", "--quiet")]
    must(line, check=f"docker load of {folder.name}", fix="make release")
