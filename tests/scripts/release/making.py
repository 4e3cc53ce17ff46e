"""Layers and images, made by hand."""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

Entry = tuple[tarfile.TarInfo, bytes]


def entry(name: str, content: bytes = b"", **fields: object) -> Entry:
    info = tarfile.TarInfo(name)
    info.size, info.mtime = len(content), 1_700_000_000
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def folder(name: str, **fields: object) -> Entry:
    return entry(name, type=tarfile.DIRTYPE, mode=0o755, **fields)


def link(name: str, to: str, kind: bytes = tarfile.LNKTYPE) -> Entry:
    return entry(name, type=kind, linkname=to)


def layer(entries: Sequence[Entry], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def saved(path: Path, layers: Sequence[bytes], **config: object) -> Path:
    """Write an archive as `docker save` does."""
    parts = {f"{at}/layer.tar": data for at, data in enumerate(layers)}
    listed = [{"Config": "config.json", "RepoTags": ["x:1"], "Layers": list(parts)}]
    parts["config.json"] = json.dumps(config).encode()
    parts["manifest.json"] = json.dumps(listed).encode()
    path.write_bytes(layer([entry(name, data) for name, data in parts.items()]))
    return path
