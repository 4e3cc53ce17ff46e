"""Names of images in a registry, and what the registry last said of them, for all processes of the node.

The answers are in files: a node whose registry does not answer goes on with the images that it knows.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from sandboxes.engine import ImageMissing
from sandboxes.sources.source import CONTENT_ID

# The platform's own names of its images, which in a registry are below its prefix.
LOCAL = "sandbox-platform/"
# A tag with the content id, by which an image is found whose name is not known: that of a build, or of a rerun.
BY_CONTENT = "by-content"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*(?:@sha256:[0-9a-f]{64})?")


def reference(image: str, registry: str) -> str:
    """Return the name of an image in the registry (`host[:port]/prefix`). Raises ImageMissing.

    A name that has a registry's host is taken as it is. A digest takes the place of the tag.
    """
    if CONTENT_ID.fullmatch(image):
        name = f"{BY_CONTENT}:{image.removeprefix('sha256:')}"
    elif not NAME.fullmatch(image):
        raise ImageMissing(f"{image!r} is no name of an image")
    elif has_host(image):
        return without_tag(image) if "@" in image else image
    else:
        name = image.removeprefix(LOCAL)
    if not registry:
        raise ImageMissing(f"{image} has no registry in its name, and SANDBOX_IMAGE_REGISTRY is empty")
    full = f"{registry.rstrip('/')}/{name}"
    return without_tag(full) if "@" in full else full


def has_host(image: str) -> bool:
    """Return whether the first part of a name is a host: it has a dot or a port, or is localhost."""
    first, slash, _ = image.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost")


def without_tag(name: str) -> str:
    """Return `host/name@digest` of `host/name:tag@digest`."""
    path, at, digest = name.partition("@")
    return f"{repository(path)}{at}{digest}"


def repository(name: str) -> str:
    """Return a name without its tag and digest."""
    path = name.partition("@")[0]
    head, slash, last = path.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


@dataclass(frozen=True)
class Known:
    """`pinned`: name and digest of the image's manifest. `asked_at`: when the registry was last asked, in seconds."""

    image_id: str
    pinned: str
    asked_at: float


class References:
    """A folder with what is known of each name, and of each content id. Safe for several processes at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of_name(self, name: str) -> Known | None:
        return self._read(_file_name(name))

    def of_id(self, image_id: str) -> Known | None:
        return self._read(image_id.removeprefix("sha256:"))

    def write(self, name: str, known: Known) -> None:
        """Raises OSError."""
        for file_name in (known.image_id.removeprefix("sha256:"), _file_name(name)):
            self._write(file_name, known)

    def touch(self, name: str, known: Known, now: float) -> None:
        """Keep what is known, as if the registry had been asked just now. Raises OSError."""
        self._write(_file_name(name), Known(known.image_id, known.pinned, now))

    def forget(self, name: str) -> None:
        (self._folder / f"{_file_name(name)}.json").unlink(missing_ok=True)

    @contextmanager
    def asking(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Hold the right to ask the registry for this name. Yield False if another process has it. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self._folder / f"{_file_name(name)}.lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True

    def _read(self, file_name: str) -> Known | None:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            found = json.loads((self._folder / f"{file_name}.json").read_text())
            return Known(str(found["image_id"]), str(found["pinned"]), float(found["asked_at"]))
        return None

    def _write(self, file_name: str, known: Known) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd, draft = tempfile.mkstemp(dir=self._folder, prefix=f"{os.getpid()}.")
        with open(fd, "w") as file:
            json.dump(asdict(known), file)
        os.replace(draft, self._folder / f"{file_name}.json")


def now() -> float:
    return time.time()


def _file_name(name: str) -> str:
    # A name has slashes. Content ids have files of their own: no name has this digest by chance.
    return f"name-{hashlib.sha256(name.encode()).hexdigest()}"
