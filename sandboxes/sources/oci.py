"""Images as registries and archives hold them: a manifest, a configuration and layers, each named by its SHA-256."""

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import IO, Any, Protocol

from sandboxes.engine import ImageMissing
from sandboxes.sources import layers
from sandboxes.sources.source import Damaged

Json = dict[str, Any]

# Of a manifest, an index or a configuration. The largest that were seen have some 20 kB.
MOST_BYTES = 4 * 1024**2
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# An archive's index leads to an index of the architectures, which leads to a manifest.
DEEPEST = 3


class Blobs(Protocol):
    """What is named by its digest, `sha256:` and 64 hexadecimal digits."""

    def open(self, digest: str) -> IO[bytes]:
        """Raises Damaged if it is not there, OSError if it cannot be read."""


@dataclass(frozen=True)
class Manifest:
    config: str
    layers: tuple[str, ...]


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def small(blobs: Blobs, digest: str) -> bytes:
    """Return a manifest or a configuration, compared with its digest."""
    with blobs.open(digest) as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise Damaged(f"{digest} has more than {MOST_BYTES} bytes, which no description of an image has")
    if digest_of(data) != digest:
        raise Damaged(f"{digest} has another content than its digest says")
    return data


def is_index(parsed: Json) -> bool:
    return "manifests" in parsed


def parsed(data: bytes, what: str) -> Json:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as e:
        raise Damaged(f"{what} is not JSON") from e
    if not isinstance(found, dict):
        raise Damaged(f"{what} is no JSON object")
    return found


def of_this_machine(index: Json, what: str) -> str:
    """Return the digest of the manifest for this machine's architecture. Raises ImageMissing."""
    here = ARCHITECTURES.get(platform.machine(), platform.machine())
    entries = [entry for entry in index["manifests"] if isinstance(entry, dict) and not _is_attestation(entry)]
    fitting = [entry for entry in entries if _fits(entry.get("platform"), here)]
    # Archives of one image name no platform.
    unnamed = [entry for entry in entries if not entry.get("platform")]
    for chosen in (fitting, unnamed if len(unnamed) == 1 else []):
        if chosen:
            return _digest(chosen[0].get("digest"), what)
    raise ImageMissing(f"{what} has no image for linux/{here}")


def _fits(named: object, here: str) -> bool:
    return isinstance(named, Mapping) and (named.get("os"), named.get("architecture")) == ("linux", here)


def _is_attestation(entry: Json) -> bool:
    return "vnd.docker.reference.type" in (entry.get("annotations") or {})


def manifest_of(data: bytes, what: str) -> Manifest:
    """Parse a manifest of OCI's or of Docker's format 2. Raises Damaged."""
    found = parsed(data, what)
    try:
        return Manifest(
            _digest(found["config"]["digest"], what),
            tuple(_digest(layer["digest"], what) for layer in found["layers"]),
        )
    except (KeyError, TypeError) as e:
        raise Damaged(f"{what} is no manifest of an image with a configuration and layers") from e


def _digest(value: object, what: str) -> str:
    if not isinstance(value, str) or not DIGEST.fullmatch(value):
        raise Damaged(f"{what} names {value!r} where a SHA-256 is expected")
    return value


def export(blobs: Blobs, manifest: Manifest, image_id: str, archive: IO[bytes]) -> Json:
    """Write the file system of an image as a tar archive, and return Docker's configuration of it.

    The id is the configuration's digest, and the configuration has the digest of each unpacked layer: nothing that
    differs from what the id says is accepted, whoever holds the image. Raises Damaged, ImageMissing and OSError.
    """
    if manifest.config != image_id:
        raise Damaged(f"the manifest is of {manifest.config}, not of {image_id}")
    config = parsed(small(blobs, image_id), "the image's configuration")
    here = ARCHITECTURES.get(platform.machine(), platform.machine())
    if (made_for := config.get("architecture", here)) != here:
        raise ImageMissing(f"the image is for {made_for}, this machine is {here}")
    try:
        unpacked = [_digest(found, "the image's configuration") for found in config["rootfs"]["diff_ids"]]
    except (KeyError, TypeError) as e:
        raise Damaged("the image's configuration names no layers") from e
    if len(unpacked) != len(manifest.layers):
        raise Damaged(f"the manifest has {len(manifest.layers)} layers, the configuration {len(unpacked)}")
    pairs = zip(manifest.layers, unpacked, strict=True)
    layers.merge([layers.Layer(found, partial(blobs.open, packed)) for packed, found in pairs], archive)
    return dict(config.get("config") or {})
