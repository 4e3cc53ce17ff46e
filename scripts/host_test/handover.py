"""What an emulated guest is given instead of making it: gVisor, and the images of this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from scripts.setup import certificates, gvisor, images
from scripts.setup.docker import docker
from scripts.setup.host import SetupError, tail

KINDS = ("gvisor", "images")
IMAGES_TAR = "/var/tmp/images.tar"  # noqa: S108 -- in the guest, where only root is
SAVE_S = 1800.0
# Docker first, whose load needs it; then `make` finds the images as any second `make` does. A guest that is used again
# has taken them in.
LOAD = (
    f"test ! -e {IMAGES_TAR} || {{ python3 -m scripts.setup ensure_docker"
    f" && docker load --quiet --input {IMAGES_TAR} && rm {IMAGES_TAR}; }}"
)


def into(root: Path, kinds: Iterable[str]) -> None:
    for kind in kinds:
        {"gvisor": hand_gvisor, "images": hand_images}[kind](root)


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
