"""Which packages of Debian a release is made of: versions that are written down, and an archive that still has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from scripts.scan import inventory
from scripts.setup import apt
from scripts.setup.host import SetupError

KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
SUITES = (("debian", ("trixie", "trixie-updates")), ("debian-security", ("trixie-security",)))
HEAD = """\
# The packages of Debian in the images of a release, written by `make release ARGS=--pin`. A release whose packages are
# others is refused.
"""
SINCE = "# An archive of this time has them: "


def lock_path(root: Path, architecture: str) -> Path:
    return root / f"scripts/release/debian-{architecture}.txt"


def installed(status: bytes) -> dict[str, str]:
    """Return the installed packages of dpkg's file with their versions."""
    return {
        package.name: package.version for package in inventory.debian_packages(status.decode(errors="replace"))
    }


def together(images: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the packages of all images. Raises SetupError if one is there in two versions."""
    found: dict[str, str] = {}
    for image in images:
        for name, version in image.items():
            if found.setdefault(name, version) != version:
                raise SetupError(
                    f"package {name}",
                    f"{found[name]} in one image, {version} in another: Debian's archive changed meanwhile",
                    "make release",
                )
    return found


def render(packages: Mapping[str, str], moment: str) -> str:
    lines = "".join(f"{name} {version}\n" for name, version in sorted(packages.items()))
    return f"{HEAD}{SINCE}{moment}\n{lines}"


def parse(text: str) -> tuple[dict[str, str], str]:
    """Return the packages of a lock file and the time of an archive that has them."""
    moment = next((line.removeprefix(SINCE) for line in text.splitlines() if line.startswith(SINCE)), "")
    pairs = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return dict(pairs), moment


def read_lock(root: Path, architecture: str) -> tuple[dict[str, str], str]:
    """Return the packages that are pinned, and the time of an archive that has them. Raises SetupError."""
    path = lock_path(root, architecture)
    if not path.is_file():
        raise SetupError(
            str(path.relative_to(root)),
            f"no packages are pinned for {architecture}",
            "make release ARGS=--pin, then commit the file",
        )
    return parse(path.read_text(encoding="utf-8"))


def differences(built: Mapping[str, str], pinned: Mapping[str, str], *, whole: bool) -> list[str]:
    """Return what was built with other packages than pinned. `whole`: all images were built, so none may be missing."""
    lines = [
        f"{name} {version}, pinned: {pinned.get(name, 'none')}"
        for name, version in sorted(built.items())
        if pinned.get(name) != version
    ]
    if whole:
        lines += [f"{name} is pinned and in no image" for name in sorted(pinned.keys() - built.keys())]
    return lines


def snapshot_sources(archive: str, moment: str) -> str:
    """Return apt's sources of an archive that keeps Debian as it was, such as Debian's own.

    `archive`: the address below which it has `debian/TIME` and `debian-security/TIME`.
    """
    return "\n".join(
        apt.Source((f"{archive.rstrip('/')}/{name}/{moment}",), suites, ("main",), KEYS).render()
        # The indices of that time say that they are no longer valid.
        + "Check-Valid-Until: no\n"
        for name, suites in SUITES
    )
