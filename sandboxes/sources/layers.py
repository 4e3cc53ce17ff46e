"""Puts the layers of an image on top of each other, and writes what is then visible as one tar archive.

The archive, and not each layer, is unpacked: within one archive tar places links last, so that nothing is ever written
through a link of the image to a place outside of it. No name in the archive leads through a link.
"""

import copy
import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, cast

from sandboxes.sources.source import Damaged

Opener = Callable[[], IO[bytes]]

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
INTERNAL = ".wh..wh."
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
CHUNK = 1 << 20
MOST_LINKS = 100


@dataclass(frozen=True)
class Layer:
    """`digest`: of the unpacked archive. `open` returns the packed one."""

    digest: str
    open: Opener


@dataclass
class Node:
    """A file, link or folder. Names of the same file share one. `children` is None for all but folders."""

    info: tarfile.TarInfo
    # The layer and the entry of it that has the content.
    at: tuple[int, int] = (-1, -1)
    children: "dict[str, Name] | None" = None


@dataclass
class Name:
    node: Node
    layer: int  # that put the name here


def merge(layers: Sequence[Layer], archive: IO[bytes]) -> None:
    """Write the image's file system. Devices are left out, as gVisor has its own. Raises Damaged and OSError."""
    tree = Tree()
    for number, layer in enumerate(layers):
        with _entries(layer) as entries:
            for index, entry, _ in entries:
                tree.add(number, index, entry)
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8") as out:
        _write(tree, layers, out)


def _write(tree: "Tree", layers: Sequence[Layer], out: tarfile.TarFile) -> None:
    folders: list[tuple[str, Node]] = []
    files: dict[tuple[int, int], str] = {}
    others: list[tuple[str, Node]] = []
    again: list[tuple[str, str]] = []
    seen: dict[int, str] = {}
    for path, node in tree.walk():
        if node.children is not None:
            folders.append((path, node))
        elif not node.info.isreg():
            others.append((path, node))
        elif first := seen.get(id(node)):
            again.append((path, first))
        else:
            seen[id(node)], files[node.at] = path, path
    for path, node in folders:
        out.addfile(_named(node.info, path))
    for number, layer in enumerate(layers):
        with _entries(layer) as entries:
            for index, entry, content in entries:
                if wanted := files.get((number, index)):
                    out.addfile(_named(entry, wanted), content(entry))
    for path, node in others:
        out.addfile(_named(node.info, path))
    for path, first in again:
        link = tarfile.TarInfo(path)
        link.type, link.linkname = tarfile.LNKTYPE, first
        out.addfile(link)


def _named(info: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
    """Return the entry with another name and without the source's extended headers, which may name it, too."""
    named = copy.copy(info)
    named.name, named.pax_headers = path, {}
    named.mtime = int(info.mtime)
    return named


Content = Callable[[tarfile.TarInfo], IO[bytes] | None]


@contextmanager
def _entries(layer: Layer) -> Iterator[Iterator[tuple[int, tarfile.TarInfo, Content]]]:
    """Yield the entries of a layer, numbered. Compares the whole with the layer's digest at the end."""
    with layer.open() as packed:
        reader = Hashed(_unpacked(packed))
        try:
            with tarfile.open(fileobj=cast(IO[bytes], reader), mode="r|", errors="surrogateescape") as tar:

                def entries() -> Iterator[tuple[int, tarfile.TarInfo, Content]]:
                    for index, entry in enumerate(tar):
                        yield index, entry, tar.extractfile
                        tar.members.clear()  # type: ignore[attr-defined]  # it would keep every entry

                yield entries()
            while reader.read(CHUNK):
                pass
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as e:
            raise Damaged(f"layer {layer.digest} cannot be read: {e}") from e
    if reader.digest() != layer.digest:
        raise Damaged(f"layer {layer.digest} has another content than the image's configuration says")


def _unpacked(packed: IO[bytes]) -> IO[bytes]:
    start = packed.read(4)
    packed.seek(0)
    if start == ZSTD:
        raise Damaged(
            "a layer is packed with zstd: push the image with gzip (skopeo copy --dest-compress-format gzip)"
        )
    return cast(IO[bytes], gzip.GzipFile(fileobj=packed)) if start.startswith(GZIP) else packed


class Hashed:
    """A reader that hashes what is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._hash.update(data)
        return data

    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


@dataclass
class Tree:
    """What is visible of the layers that were added."""

    root: Node = field(default_factory=lambda: _folder())

    def add(self, layer: int, index: int, entry: tarfile.TarInfo) -> None:
        """Add an entry of a layer; those of lower layers come first. Raises Damaged."""
        parts = [part for part in entry.name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise Damaged(f"the image has the name {entry.name!r}")
        if not parts:
            return
        *above, name = parts
        parent = self._folder(above, layer)
        if name == OPAQUE:
            _hide(parent, layer)
        elif name.startswith(INTERNAL):
            pass  # of aufs itself
        elif name.startswith(WHITEOUT):
            _remove(parent, name.removeprefix(WHITEOUT), layer)
        else:
            self._put(parent, name, layer, index, entry)

    def _put(self, parent: "dict[str, Name]", name: str, layer: int, index: int, entry: tarfile.TarInfo) -> None:
        if entry.isdir():
            there = parent.get(name)
            if there and there.node.children is not None:
                there.node.info, there.layer = entry, layer
            else:
                parent[name] = Name(_folder(entry), layer)
        elif entry.islnk():
            parent[name] = Name(self._linked(entry), layer)
        elif entry.ischr() or entry.isblk():
            parent.pop(name, None)
        else:
            parent[name] = Name(Node(entry, (layer, index)), layer)

    def _linked(self, entry: tarfile.TarInfo) -> Node:
        *above, name = [part for part in entry.linkname.split("/") if part not in ("", ".")] or [""]
        found = self._folder(above, -1).get(name)
        if found is None or found.node.children is not None:
            raise Damaged(f"{entry.name!r} is another name of {entry.linkname!r}, which is no file of the image")
        return found.node

    def _folder(self, parts: Sequence[str], layer: int) -> "dict[str, Name]":
        """Return the content of a folder, made if it is not there. The image's links are followed within the image."""
        left = list(parts)
        at: list[dict[str, Name]] = [_content(self.root)]
        links = 0
        while left:
            part = left.pop(0)
            if part == "..":
                at = at[:-1] or at
                continue
            found = at[-1].setdefault(part, Name(_folder(), layer))
            if found.node.children is not None:
                at.append(found.node.children)
                continue
            links += 1
            if not found.node.info.issym() or links > MOST_LINKS:
                raise Damaged(f"{'/'.join(parts)!r} of the image does not lead to a folder")
            target = PurePosixPath(found.node.info.linkname)
            at = at[:1] if target.is_absolute() else at
            left[:0] = [part for part in target.parts if part != "/"]
        return at[-1]

    def walk(self) -> Iterator[tuple[str, Node]]:
        """Yield path and node, a folder before what is in it, the root left out."""
        waiting = [("", self.root)]
        while waiting:
            path, node = waiting.pop()
            if path:
                yield path, node
            for name, below in (node.children or {}).items():
                waiting.append((f"{path}/{name}" if path else name, below.node))


def _folder(info: tarfile.TarInfo | None = None) -> Node:
    if info is None:
        info = tarfile.TarInfo()
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    return Node(info, children={})


def _content(node: Node) -> "dict[str, Name]":
    return {} if node.children is None else node.children


def _hide(folder: "dict[str, Name]", layer: int) -> None:
    """Remove what lower layers have put into a folder."""
    for name in list(folder):
        _remove(folder, name, layer)


def _remove(folder: "dict[str, Name]", name: str, layer: int) -> None:
    """Remove a name that a lower layer has put here. A folder stays if its layer has it, too, or something in it."""
    there = folder.get(name)
    if there is None:
        return
    if there.node.children is not None:
        _hide(there.node.children, layer)
    if there.layer < layer and not there.node.children:
        del folder[name]
