"""Tar archives, the form in which Docker gives and takes files. Those of an image are not trusted."""

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping

MAX_FILES = 2000


def packed(folder: str, files: Mapping[str, str | bytes], *, owner: int = 0) -> bytes:
    """Return an archive of the files, by path below the folder, for their owner only."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        known = set()
        for name, text in files.items():
            path = f"{folder}/{name}".lstrip("/")
            above = path.split("/")[:-1]
            for depth in range(len(folder.strip("/").split("/")), len(above) + 1):
                parent = "/".join(above[:depth])
                if parent not in known:
                    known.add(parent)
                    entry = tarfile.TarInfo(parent)
                    entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, 0o700, owner, owner
                    tar.addfile(entry)
            content = text.encode() if isinstance(text, str) else text
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode, entry.uid, entry.gid = len(content), 0o600, owner, owner
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def unpacked(chunks: Iterable[bytes], parent: str, limit: int) -> dict[str, bytes]:
    """Return the regular files of an archive by path below `parent`, of at most `limit` bytes in all.

    Raises ValueError for an archive that is larger, or none.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=_bounded(chunks, limit), mode="r:") as tar:
            for count, entry in enumerate(tar):
                if count >= MAX_FILES:
                    raise ValueError(f"more than {MAX_FILES} files in {parent}")
                # A sparse file could be larger than its archive.
                if entry.isfile() and not entry.issparse() and (file := tar.extractfile(entry)):
                    found[f"{parent.rstrip('/')}/{entry.name}"] = file.read()
    except tarfile.TarError as e:
        raise ValueError(f"{parent}: {e}") from e
    return found


def _bounded(chunks: Iterable[bytes], limit: int) -> io.BytesIO:
    whole = io.BytesIO()
    for chunk in chunks:
        if whole.tell() + len(chunk) > limit:
            raise ValueError(f"more than {limit} bytes")
        whole.write(chunk)
    whole.seek(0)
    return whole


def without(chunks: Iterable[bytes], secrets: Iterable[str]) -> Iterator[bytes]:
    """Yield the chunks. Raises ValueError at the first that holds a secret, before it is yielded."""
    wanted = [secret.encode() for secret in secrets]
    overlap = max((len(secret) for secret in wanted), default=1) - 1
    end = b""
    for chunk in chunks:
        seen = end + chunk
        if any(secret in seen for secret in wanted):
            raise ValueError("a fetched file contains a secret of a mirror")
        end = seen[-overlap:] if overlap else b""
        yield chunk
