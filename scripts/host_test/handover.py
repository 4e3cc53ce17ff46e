"""What an emulated guest is given instead of making it: gVisor, the images of this machine, and these unpacked."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from scripts.setup import certificates, gvisor, images
from scripts.setup.docker import docker
from scripts.setup.host import SetupError, tail

KINDS = ("gvisor", "images", "unpacked")
IMAGES_TAR = "/var/tmp/images.tar"  # noqa: S108 -- in the guest, where only root is
SAVE_S = 1800.0
# Of the direct engine (sandboxes/direct/images.py), by content id. It compares their checksums before it uses them.
UNPACKED = Path("/var/lib/sandbox-platform/images")
# Docker first, whose load needs it; then `make` finds the images as any second `make` does. A guest that is used again
# has taken them in.
LOAD = (
    f"test ! -e {IMAGES_TAR} || {{ python3 -m scripts.setup ensure_docker"
    f" && docker load --quiet --input {IMAGES_TAR} && rm {IMAGES_TAR}; }}"
)


def into(root: Path, kinds: Iterable[str]) -> None:
    for kind in kinds:
        {"gvisor": hand_gvisor, "images": hand_images, "unpacked": hand_unpacked}[kind](root)


def hand_gvisor(root: Path) -> None:
    if not gvisor.FOLDER.is_dir():
        raise SetupError("gVisor to hand over", f"{gvisor.FOLDER} does not exist", "make build")
    shutil.copytree(gvisor.FOLDER, root / str(gvisor.FOLDER).lstrip("/"))


def tags() -> list[str]:
    """Return the base image and those that a plain `make` builds."""
    built = [
        *images.runtime_images("core"),
        images.postgres_image(),
        images.egress_image(),
        images.platform_image(),
    ]
    return [images.BASE, *(image.tag for image in built), certificates.FETCH_TAG]


def hand_images(root: Path) -> None:
    done = docker("save", "--output", root / IMAGES_TAR.lstrip("/"), *tags(), timeout=SAVE_S)
    if done.returncode:
        raise SetupError("images to hand over", tail(done), "make build")


def hand_unpacked(root: Path) -> None:
    """Give the guest those images of the runtimes that the keeper of this machine has unpacked."""
    target = root / str(UNPACKED).lstrip("/")
    target.mkdir(mode=0o700, parents=True)
    for image in images.runtime_images("core"):
        name = content_id(image.tag).removeprefix("sha256:")
        for suffix in ("erofs", "json"):
            if not (file := UNPACKED / f"{name}.{suffix}").exists():
                raise SetupError(f"{image.tag} unpacked, to hand over", f"{file} does not exist", "make start")
            shutil.copy2(file, target)


def content_id(tag: str) -> str:
    done = docker("image", "inspect", "--format", "{{.Id}}", tag)
    if done.returncode:
        raise SetupError(f"{tag} to hand over", tail(done), "make build")
    return done.stdout.strip()
