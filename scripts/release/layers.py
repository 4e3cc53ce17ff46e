"""Write a layer of an image anew, so that its bytes follow from its files only.

Two builds of the same files differ in the order of the entries, in the times of files that the build made, and in what
else a tar archive may say. Here entries come in the order of their names, no file is newer than the release's commit,
users and groups have their numbers only, and of the extended headers those with attributes of files are left.
"""

from __future__ import annotations

import hashlib
import posixpath
import tarfile
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import IO

ATTRIBUTE = "SCHILY.xattr."
STATUS = "var/lib/dpkg/status"


@dataclass(frozen=True)
class Layer:
    digest: str  # of the uncompressed archive: what an image's configuration calls diff id
    size: int
    files: Mapping[str, str]  # path -> digest of header and content, to name what differs
    status: bytes | None  # dpkg's list of packages, if the layer has one


class Hashing:
    """A file to write to, which notes digest and size of what goes through."""

    def __init__(self, out: IO[bytes]) -> None:
        self.out, self.sum, self.size = out, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.sum.update(data)
        self.size += len(data)
        return self.out.write(data)

    def tell(self) -> int:
        return self.size


def rewrite(source: IO[bytes], out: IO[bytes], epoch: int) -> Layer:
    """Read a layer, compressed or not, and write it anew. `source` must be seekable."""
    hashing = Hashing(out)
    files: dict[str, str] = {}
    status = None
    with (
        tarfile.open(fileobj=source, mode="r:*") as old,
        tarfile.open(fileobj=hashing, mode="w", format=tarfile.PAX_FORMAT) as new,  # type: ignore[call-overload]
    ):
        for entry, content in ordered(old):
            data = old.extractfile(content) if content else None
            plain = normal(entry, epoch)
            reading = Reading(data) if data else None
            new.addfile(plain, reading)
            seen = reading.sum if reading else hashlib.sha256()
            seen.update(repr(sorted(plain.get_info().items())).encode(errors="surrogateescape"))
            seen.update(repr(plain.pax_headers).encode(errors="surrogateescape"))
            files[plain.name] = seen.hexdigest()[:16]
            if plain.name == STATUS and content:
                found = old.extractfile(content)
                status = found.read() if found else None
            # tarfile keeps every entry, which are some thousand in a layer.
            new.members = []
    return Layer(f"sha256:{hashing.sum.hexdigest()}", hashing.size, files, status)


class Reading:
    """A file to read from, which notes the digest of what goes through."""

    def __init__(self, source: IO[bytes]) -> None:
        self.source, self.sum = source, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self.source.read(size)
        self.sum.update(data)
        return data


def ordered(tar: tarfile.TarFile) -> Iterable[tuple[tarfile.TarInfo, tarfile.TarInfo | None]]:
    """Yield the entries in the order of their names, each with the entry that has its content.

    Names of one file (hard links) come in any order, too: here the first in the order of names is the file.
    """
    entries: dict[str, tarfile.TarInfo] = {}
    for entry in tar.getmembers():
        entry.name = posixpath.normpath(entry.name)
        entries[entry.name] = entry
    first: dict[str, str] = {}
    for name, entry in entries.items():
        if entry.islnk():
            target = posixpath.normpath(entry.linkname)
            first[target] = min(first.get(target, target), name)
    for name in sorted(entries):
        entry = entries[name]
        target = posixpath.normpath(entry.linkname) if entry.islnk() else name
        if target not in first or target not in entries:
            yield entry, entry if entry.isreg() else None
        elif name == first[target]:
            file = copy(entries[target])
            file.name = name
            yield file, entries[target]
        else:
            link = copy(entries[target])
            link.name, link.linkname, link.type = name, first[target], tarfile.LNKTYPE
            yield link, None


def normal(entry: tarfile.TarInfo, epoch: int) -> tarfile.TarInfo:
    """Return the entry without what does not follow from the file."""
    plain = tarfile.TarInfo(entry.name)
    plain.type, plain.mode, plain.linkname = entry.type, entry.mode & 0o7777, entry.linkname
    plain.uid, plain.gid, plain.size = entry.uid, entry.gid, entry.size if entry.isreg() else 0
    plain.devmajor, plain.devminor = entry.devmajor, entry.devminor
    plain.mtime = min(int(entry.mtime), epoch)
    if plain.type in tarfile.REGULAR_TYPES:
        plain.type = tarfile.REGTYPE
    plain.pax_headers = {
        name: value for name, value in sorted(entry.pax_headers.items()) if name.startswith(ATTRIBUTE)
    }
    return plain
