"""Makes images of a few files, as OCI archives, the way that tools of the field write them."""

import gzip
import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
TIME = 1_600_000_000
# Name, type, content or target.
Entry = tuple[str, bytes, str]
OCI = "application/vnd.oci.image"
CONFIG: dict[str, Any] = {"Entrypoint": ["/runner"], "Env": ["A=b=c"], "Volumes": {"/data": {}}}


def folder(name: str) -> Entry:
    return name, tarfile.DIRTYPE, ""


def file(name: str, text: str = "") -> Entry:
    return name, tarfile.REGTYPE, text


def link(name: str, target: str) -> Entry:
    return name, tarfile.SYMTYPE, target


def hard_link(name: str, target: str) -> Entry:
    return name, tarfile.LNKTYPE, target


def layer(*entries: Entry) -> bytes:
    """Return a layer's archive, not packed."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, kind, text in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.mtime = kind, 0o755, TIME
            if kind == tarfile.REGTYPE:
                entry.size = len(text.encode())
            elif kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                entry.linkname = text
            tar.addfile(entry, io.BytesIO(text.encode()))
    return data.getvalue()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Made:
    """The parts of an image, by their digests; tests damage them."""

    image_id: str
    manifest: bytes
    blobs: dict[str, bytes]

    def index(self, architecture: str = "") -> bytes:
        entry: dict[str, Any] = _described(f"{OCI}.manifest.v1+json", self.manifest)
        if architecture:
            entry["platform"] = {"os": "linux", "architecture": architecture}
        return json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()

    def write(self, path: Path, *, architecture: str = "", prefix: str = "") -> None:
        """Write an OCI archive."""
        files = {
            "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
            "index.json": self.index(architecture),
            **{f"blobs/sha256/{name.removeprefix('sha256:')}": data for name, data in self.blobs.items()},
        }
        with tarfile.open(path, "w") as tar:
            for name, data in files.items():
                entry = tarfile.TarInfo(prefix + name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))


def image(*layers: bytes, config: dict[str, Any] | None = None, architecture: str = ARCHITECTURE) -> Made:
    packed = [gzip.compress(data, mtime=0) for data in layers]
    described = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "config": CONFIG if config is None else config,
            "rootfs": {"type": "layers", "diff_ids": [digest(data) for data in layers]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": _described(f"{OCI}.config.v1+json", described),
            "layers": [_described(f"{OCI}.layer.v1.tar+gzip", data) for data in packed],
        }
    ).encode()
    return Made(digest(described), manifest, {digest(data): data for data in (*packed, described, manifest)})


def _described(kind: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest(data), "size": len(data)}


def names(archive: Sequence[tarfile.TarInfo]) -> set[str]:
    return {entry.name for entry in archive}
