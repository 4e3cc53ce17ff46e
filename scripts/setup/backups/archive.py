"""The file of a backup: a tar file that begins with a manifest, which names every other file with its SHA-256.

The hashes find damage. They do not find somebody who changes a file and its hash: encrypt the archive for that, or note
the archive's own SHA-256, which `make backup` prints.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from scripts.setup.host import SetupError

KIND = "sandbox-platform backup"
FORMAT = 1
MANIFEST = "manifest.json"
LARGEST_MANIFEST = 16 * 1024**2
# No folders: a name of an archive can lead nowhere else.
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
PIECE = 1024**2


@dataclass(frozen=True)
class Manifest:
    """What a backup says about itself."""

    created: str  # ISO 8601, UTC
    platform: str  # version of pyproject.toml
    commit: str  # of the checkout; empty if it is none
    node: str
    postgres: int  # major version of the server
    executions: int
    roles: list[str]  # that the dump names
    migrations: dict[str, list[str]]  # applied ones, by app
    files: dict[str, dict[str, Any]] = field(default_factory=dict)  # name -> sha256, bytes


def write(folder: Path, manifest: Manifest, to: Path) -> None:
    """Pack all files of the folder. The archive appears complete, with mode 0600."""
    names = sorted(path.name for path in folder.iterdir())
    files = {name: {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size} for name in names}
    text = json.dumps({"kind": KIND, "format": FORMAT, **asdict(manifest), "files": files}, indent=2).encode()
    with _new(to) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, MANIFEST, io.BytesIO(text), len(text))
        for name in names:
            with (folder / name).open("rb") as content:
                _add(tar, name, content, (folder / name).stat().st_size)


def _add(tar: tarfile.TarFile, name: str, content: IO[bytes], size: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    tar.addfile(entry, content)


@contextlib.contextmanager
def _new(path: Path) -> Iterator[IO[bytes]]:
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)  # half an archive must not look like a backup


def unpack(path: Path, folder: Path) -> Manifest:
    """Unpack into the folder and compare all hashes. Raises SetupError for what is no complete backup."""
    try:
        with tarfile.open(path, "r:") as tar:
            manifest = _manifest(path, tar)
            found = dict(_extract(path, tar, folder, manifest))
    except (tarfile.TarError, EOFError, OSError) as error:
        raise refused(path, f"is no backup of Sandbox Platform, or is damaged ({error})") from error
    for name, of_manifest in manifest.files.items():
        if name not in found:
            raise refused(path, f"is damaged: {name} is missing")
        if found[name] != of_manifest.get("sha256"):
            raise refused(path, f"is damaged: {name} is not what the manifest says")
    return manifest


def _manifest(path: Path, tar: tarfile.TarFile) -> Manifest:
    first = tar.next()
    if first is None or first.name != MANIFEST or not first.isreg() or first.size > LARGEST_MANIFEST:
        raise refused(path, "is no backup of Sandbox Platform: it does not begin with a manifest")
    content = tar.extractfile(first)
    try:
        values = json.loads(content.read() if content else b"")
        if values.pop("kind") != KIND:
            raise refused(path, "is a backup of something else")
        if (number := values.pop("format")) > FORMAT:
            raise refused(
                path,
                f"is of a newer version (format {number}, known here: {FORMAT})",
                f"check out version {values.get('platform', 'of the backup')}, then make restore",
            )
        manifest = Manifest(**values)
        if not all(NAME.fullmatch(name) and isinstance(of, dict) for name, of in manifest.files.items()):
            raise ValueError("names of files")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise refused(path, f"is damaged: its manifest cannot be read ({error})") from error
    return manifest


def _extract(path: Path, tar: tarfile.TarFile, folder: Path, manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Write the files of the manifest, and yield their names and hashes."""
    while entry := tar.next():
        if entry.name not in manifest.files or not entry.isreg() or (folder / entry.name).exists():
            raise refused(path, f"is damaged: {entry.name!r} does not belong to it")
        content = tar.extractfile(entry)
        digest = hashlib.sha256()
        target = os.open(folder / entry.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(target, "wb") as file:
            while content and (piece := content.read(PIECE)):
                digest.update(piece)
                file.write(piece)
        yield entry.name, digest.hexdigest()


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refused(path: Path, why: str, fix: str = "name another archive: make restore BACKUP=FILE") -> SetupError:
    return SetupError(f"backup {path}", why, fix)
