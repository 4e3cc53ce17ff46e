"""The node's images: each the content of one image of the source, unpacked once into one read-only EROFS file."""

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from django.conf import settings

from sandboxes.direct.bundle import MOUNT_POINTS, Image
from sandboxes.engine import EngineError, ImageMissing
from sandboxes.layout import HOSTNAME
from sandboxes.sources.source import CONTENT_ID

logger = logging.getLogger(__name__)

MAKE_TIMEOUT_S = 600
# An image that is not needed now may be asked for again: a rollback, a rerun.
UNUSED_S = 24 * 3600
# Raise it when images are made in another way: those of before are made again.
LAYOUT = 2
# As on any machine: the sandbox has a loopback interface, and its own name.
HOSTS = f"127.0.0.1 localhost\n127.0.1.1 {HOSTNAME}\n::1 localhost ip6-localhost ip6-loopback\n"
MOST_LINKS = 100  # and folders of a path
FULL = (errno.ENOSPC, errno.EDQUOT)
# Enough for an interrupted removal to be visible, and short enough to type.
SHOWN = 12


class Store:
    """A folder with a file and a description for each image. Safe for several processes at once.

    `checked`: folder for marks of the images whose content was compared with their checksum; it is empty after a
    restart of the host.
    """

    def __init__(self, folder: Path, checked: Path) -> None:
        self._folder = folder
        self._checked = checked
        self._known: dict[str, Image] = {}

    def image(self, image_id: str, export: Callable[[IO[bytes]], dict[str, Any]]) -> Image:
        """Return the image, made first if the node has not got it.

        `export` writes the image's file system as a tar archive and returns Docker's configuration of the image.
        Raises EngineError.
        """
        if known := self._known.get(image_id):
            with contextlib.suppress(OSError):
                os.utime(known.file)  # tells `sweep` when it was last used
                return known
        name = _name(image_id)
        with self._locked(name):
            if not self._is_sound(name):
                self._make(name, export)
            self._known[image_id] = self._read(name)
            os.utime(self._file(name))
        return self._known[image_id]

    def _is_sound(self, name: str) -> bool:
        """Return whether the image is there and has the content that it was made with."""
        try:
            described = json.loads(self._described(name).read_text())
            mark = f"{described['sha256']} {self._file(name).stat().st_ino}"
            # Reading an image takes seconds, so it is done once, not in every process.
            sound = described["layout"] == LAYOUT and (
                self._is_marked(name, mark) or _sha256(self._file(name)) == described["sha256"]
            )
            if sound:
                self._checked.mkdir(mode=0o700, parents=True, exist_ok=True)
                (self._checked / name).write_text(mark)
        except FileNotFoundError:
            return False
        except (OSError, ValueError, KeyError) as e:
            logger.warning("image %s cannot be read, and is made again: %s", name[:SHOWN], e)
            return False
        if not sound:
            logger.warning("image %s is damaged or of an earlier release, and is made again", name[:SHOWN])
        return bool(sound)

    def _is_marked(self, name: str, mark: str) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return (self._checked / name).read_text() == mark
        return False

    def _read(self, name: str) -> Image:
        described = json.loads(self._described(name).read_text())
        return Image(
            str(self._file(name)),
            tuple(described["entrypoint"]),
            described["environment"],
            tuple(described["volumes"]),
        )

    def _make(self, name: str, export: Callable[[IO[bytes]], dict[str, Any]]) -> None:
        try:
            with tempfile.TemporaryDirectory(dir=self._folder, prefix=f"{name[:SHOWN]}.") as work:
                root = Path(work, "root")
                root.mkdir()
                with open(Path(work, "archive"), "w+b") as archive:
                    found = export(archive)
                    archive.seek(0)
                    # Devices are of no use in gVisor, which has its own, and have been a way out of it.
                    # Folders may come in another order than what is in them.
                    options = ["--exclude=dev/*", "--delay-directory-restore"]
                    _command(["tar", "-x", "-p", *options, "-C", root], stdin=archive)
                volumes = sorted(found.get("Volumes") or ())
                _prepare(root, volumes)
                # Data inside of inodes makes gVisor fail with EFAULT. Files keep their times, by which Python tells
                # whether its compiled files are still true.
                made = Path(work, "image")
                _command(["mkfs.erofs", "-d0", "-E", "noinline_data", made, root])
                described = {
                    "entrypoint": found.get("Entrypoint") or [],
                    "environment": dict(pair.partition("=")[::2] for pair in found.get("Env") or ()),
                    "volumes": volumes,
                    "sha256": _sha256(made),
                    "layout": LAYOUT,
                }
                made.chmod(0o444)
                made.rename(self._file(name))
                # The description comes last: with it the image is there.
                Path(work, "described").write_text(json.dumps(described))
                Path(work, "described").rename(self._described(name))
        except OSError as e:
            if e.errno in FULL:
                raise EngineError(_full(name, self._folder)) from e
            raise EngineError(f"image {name[:SHOWN]}: {e}") from e
        except _Full as e:
            raise EngineError(_full(name, self._folder)) from e

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{name}.lock"
        while True:
            with open(path, "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                # `remove` may have removed this file meanwhile; another process would lock its successor.
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                        yield
                        return

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.erofs"

    def _described(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def names(self) -> list[str]:
        return sorted(path.stem for path in self._folder.glob("*.json"))

    def current_names(self) -> set[str]:
        """Return the names of images that were made as they are made now."""
        found = set()
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                if json.loads(path.read_text())["layout"] == LAYOUT:
                    found.add(path.stem)
        return found

    def size_bytes(self) -> int:
        total = 0
        for path in self._folder.glob("*.erofs"):
            with contextlib.suppress(OSError):
                total += path.stat().st_size
        return total

    def sweep(self, needed: Collection[str], most_bytes: int, now: float | None = None) -> list[str]:
        """Remove images that are not among the content ids `needed`; return their names.

        Those that nothing used for UNUSED_S are removed; then the least recently used, until the rest is within
        `most_bytes`. Also removes what processes left that died while they made an image.
        """
        now = now or time.time()
        for path in self._folder.glob("*.*"):
            with contextlib.suppress(OSError):
                if path.is_dir() and path.stat().st_mtime < now - 2 * MAKE_TIMEOUT_S:
                    shutil.rmtree(path, ignore_errors=True)
        kept = {image_id.removeprefix("sha256:") for image_id in needed}
        spare = sorted((used, name) for name, used in self._last_used().items() if name not in kept)
        removed = []
        for used, name in spare:
            if used < now - UNUSED_S or self.size_bytes() > most_bytes:
                self.remove(name)
                removed.append(name)
        return removed

    def _last_used(self) -> dict[str, float]:
        found = {}
        for path in self._folder.glob("*.erofs"):
            with contextlib.suppress(OSError):
                found[path.stem] = path.stat().st_mtime
        return found

    def remove(self, name: str) -> None:
        """Remove an image. Sandboxes that run with it keep it until they end."""
        with self._locked(name):
            self._described(name).unlink(missing_ok=True)
            self._file(name).unlink(missing_ok=True)
            (self._checked / name).unlink(missing_ok=True)
            (self._folder / f"{name}.lock").unlink(missing_ok=True)
        self._known = {image_id: image for image_id, image in self._known.items() if _name(image_id) != name}


def node_store() -> Store:
    return Store(settings.SANDBOX_IMAGE_DIR, settings.SANDBOX_RUN_DIR / "checked")


def _name(image_id: str) -> str:
    if not CONTENT_ID.fullmatch(image_id):
        raise ImageMissing(f"{image_id!r} is not the content id of an image")
    return image_id.removeprefix("sha256:")


def _prepare(root: Path, volumes: list[str]) -> None:
    """Add what the sandbox has in every image: the folders that something is mounted on, and the machine's names."""
    for place in (*MOUNT_POINTS, *(volume.strip("/") for volume in volumes)):
        _folder_within(root, place)
    etc = _folder_within(root, "etc")
    for name, text in (("hosts", HOSTS), ("hostname", f"{HOSTNAME}\n"), ("resolv.conf", "")):
        (etc / name).unlink(missing_ok=True)
        (etc / name).write_text(text)
    if not os.path.lexists(etc / "mtab"):
        (etc / "mtab").symlink_to("/proc/mounts")  # for df; Docker makes it in what it exports
    (root / ".dockerenv").unlink(missing_ok=True)


def _folder_within(root: Path, place: str) -> Path:
    """Create a folder of the image and return it. The image's own links are followed within the image."""
    at = PurePosixPath("/")
    left = list(PurePosixPath("/", place).parts[1:])
    for _ in range(MOST_LINKS):
        if not left:
            return root / at.relative_to("/")
        part = left.pop(0)
        if part == "..":
            at = at.parent
            continue
        folder = root / (at / part).relative_to("/")
        if folder.is_symlink():
            target = PurePosixPath(os.readlink(folder))
            at = PurePosixPath("/") if target.is_absolute() else at
            left[:0] = target.parts[1:] if target.is_absolute() else target.parts
        else:
            folder.mkdir(exist_ok=True)
            at /= part
    raise EngineError(f"the image's {place!r} is a loop of links")


def _command(words: list[str | Path], stdin: IO[bytes] | None = None) -> None:
    try:
        done = subprocess.run(
            words, stdin=stdin or subprocess.DEVNULL, capture_output=True, timeout=MAKE_TIMEOUT_S, check=False
        )
    except FileNotFoundError as e:
        raise EngineError(f"{words[0]} is missing on this node; `make setup` installs it") from e
    except subprocess.TimeoutExpired as e:
        raise EngineError(f"{words[0]} took more than {MAKE_TIMEOUT_S} s") from e
    if done.returncode:
        said = done.stderr.decode(errors="replace")[-500:]
        if any(os.strerror(number) in said for number in FULL):
            raise _Full
        raise EngineError(f"{words[0]}: {said}")


class _Full(Exception):
    """A tool has found no space left on the disk."""


def _full(name: str, folder: Path) -> str:
    return f"image {name[:SHOWN]}: the disk of {folder} is full: free space there, or lower SANDBOX_IMAGE_DISK"


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def available() -> bool:
    return bool(shutil.which("mkfs.erofs") and shutil.which("tar"))
