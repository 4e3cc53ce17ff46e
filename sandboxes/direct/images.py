"""The node's images: each the content of one image of Docker's, unpacked once into one read-only EROFS file."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from sandboxes.direct.bundle import MOUNT_POINTS, Image
from sandboxes.engine import EngineError, ImageMissing
from sandboxes.layout import HOSTNAME

MAKE_TIMEOUT_S = 600
CONTENT_ID = re.compile(r"sha256:[0-9a-f]{64}")
# As on any machine: the sandbox has a loopback interface, and its own name.
HOSTS = f"127.0.0.1 localhost\n127.0.1.1 {HOSTNAME}\n::1 localhost ip6-localhost ip6-loopback\n"
MOST_LINKS = 100  # and folders of a path
# Enough for an interrupted removal to be visible, and short enough to type.
SHOWN = 12


class Store:
    """A folder with a file and a description for each image. Safe for several processes at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Image] = {}

    def image(self, image_id: str, export: Callable[[IO[bytes]], dict[str, Any]]) -> Image:
        """Return the image, made first if the node has not got it.

        `export` writes the image's file system as a tar archive and returns Docker's configuration of the image.
        Raises EngineError.
        """
        if image_id not in self._known:
            name = _name(image_id)
            with self._locked(name):
                if not self._described(name).exists():
                    self._make(name, export)
                self._known[image_id] = self._read(name)
        with contextlib.suppress(OSError):
            os.utime(self._known[image_id].file)  # tells `remove_unused` which ones are in use
        return self._known[image_id]

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
                    _command(["tar", "-x", "-p", "--exclude=dev/*", "-C", root], stdin=archive)
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
                }
                made.chmod(0o444)
                made.rename(self._file(name))
                # The description comes last: with it the image is there.
                Path(work, "described").write_text(json.dumps(described))
                Path(work, "described").rename(self._described(name))
        except OSError as e:
            raise EngineError(f"image {name[:SHOWN]}: {e}") from e

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self._folder / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.erofs"

    def _described(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def names(self) -> list[str]:
        return sorted(path.stem for path in self._folder.glob("*.json"))

    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self._folder.glob("*.erofs"))

    def remove(self, name: str) -> None:
        """Remove an image. Sandboxes that run with it keep it until they end."""
        with self._locked(name):
            self._described(name).unlink(missing_ok=True)
            self._file(name).unlink(missing_ok=True)
            (self._folder / f"{name}.lock").unlink(missing_ok=True)
        self._known = {image_id: image for image_id, image in self._known.items() if _name(image_id) != name}


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
        raise EngineError(f"{words[0]}: {done.stderr.decode(errors='replace')[-500:]}")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def available() -> bool:
    return bool(shutil.which("mkfs.erofs") and shutil.which("tar"))
