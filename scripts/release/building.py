"""Build the images of a release from the checkout that this file is in: `python3 -m scripts.release.building FOLDER`.

`make release` runs it in a clone, so the commit's own code and files make the images. The folder gets them in the
layout of OCI, and `built.json`, which says what they are and what they were made of.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts.release import archive, debian
from scripts.release.archive import Layout, Normal
from scripts.setup import apt, certificates, images
from scripts.setup.docker import docker
from scripts.setup.host import ROOT, SetupError, fail, step
from scripts.setup.hosts.invitation import platform_version
from scripts.setup.images import Image

BASE = "base"
BASE_TAG = "sandbox-platform/release-base"
# Files whose hashes or versions pin what a build fetches. Those of an image are in its context or named here.
PINNED = (
    "Dockerfile",
    "requirements.txt",
    "console/frontend/package-lock.json",
    "images/npm.txt",
    "images/*/Dockerfile",
    "images/*/package-lock.json",
    "images/*/packages.txt",
    "images/runner/node/package-lock.json",
)
# Every machine has its own mirrors, and builds mount them: an image names none.
NO_SOURCES = (
    'cd "$1"/etc/apt && rm -rf sources.list sources.list.d/* '
    "&& echo '# The platform mounts the sources of its host here.' > sources.list.d/debian.sources"
)
FIX = "make release"


def all_images(runtimes: str) -> dict[str, Image]:
    found = [
        images.platform_image(), images.postgres_image(), images.egress_image(), images.fetch_image(),
        images.tls_image(), *images.runtime_images(runtimes),
    ]  # fmt: skip
    return {image.name.replace(" ", "-"): image for image in found}


def chosen(only: str, runtimes: str) -> dict[str, Image]:
    """Return the images of a release, or those of a list of names. Raises SetupError for an unknown name."""
    every = all_images(runtimes)
    names = only.replace(",", " ").split() or list(every)
    if unknown := sorted(set(names) - set(every)):
        raise SetupError(f"--only {only}", f"{unknown[0]} is no image of a release", f"some of: {' '.join(every)}")
    return {name: every[name] for name in names}


def architecture() -> str:
    return docker("version", "--format", "{{.Server.Arch}}").stdout.strip()


def sources(snapshot: str) -> str:
    """Return apt's sources: of an archive that keeps Debian as it was, or of this machine's mirrors."""
    if not snapshot:
        return "\n".join(source.render() for source in apt.trixie_sources())
    _, moment = debian.read_lock(ROOT, architecture())
    return debian.snapshot_sources(snapshot, moment)


def make_base(layout: Layout, listed: str, epoch: int) -> Normal:
    """Make Debian's base. mmdebstrap writes the same archive again if it knows the time."""
    with step("base of Debian 13"), TemporaryDirectory(prefix="sandbox-platform-base-") as folder:
        tar = Path(folder) / "trixie.tar"
        images.bootstrap(tar, listed, fix=FIX, environment=[f"SOURCE_DATE_EPOCH={epoch}"], hook=NO_SOURCES)
        config = {
            "architecture": architecture(),
            "os": "linux",
            "config": {"Cmd": ["bash"]},
            "history": [{"created_by": "mmdebstrap --variant=minbase trixie"}],
        }
        with tar.open("rb") as file:
            return layout.add(config, [file], epoch)


@contextmanager
def loaded(layout: Layout, tag: str, image: Normal) -> Iterator[None]:
    """Let Docker have an image under a tag for a while."""
    layout.write_index({tag: image})
    archive.load(layout.folder)
    try:
        yield
    finally:
        docker("image", "rm", tag)


@dataclass(frozen=True)
class Build:
    """What the builds of a release have in common."""

    epoch: int
    base: str  # tag
    secrets: Sequence[str]
    labels: Mapping[str, str]
    mark: str  # tag of what Docker makes, until it is written anew


def make(image: Image, name: str, content: str, layout: Layout, build: Build) -> Normal:
    """Build an image without cache, and write what Docker made of it anew."""
    tag = f"sandbox-platform/release-{name}:{build.mark}"
    labels = {**build.labels, images.CONTENT_LABEL: content}
    with step(f"image {name}") as current:
        line = images.build_command(
            image, build.secrets, tag, "--no-cache",
            "--build-arg", f"SOURCE_DATE_EPOCH={build.epoch}",
            "--build-context", f"{images.BASE}=docker-image://{build.base}",
            *(word for label, value in labels.items() for word in ("--label", f"{label}={value}")),
        )  # fmt: skip
        try:
            images.run_build(line, tag)
            made = archive.from_docker(tag, layout, build.epoch)
        finally:
            docker("image", "rm", tag)
        current.note(made.digest)
        return made


def pinned_files() -> dict[str, str]:
    """Return the hash of each file that pins inputs."""
    return {
        str(path.relative_to(ROOT)): hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in PINNED
        for path in sorted(ROOT.glob(pattern))
    }


def build_all(folder: Path, options: argparse.Namespace) -> dict[str, object]:
    version, epoch, layout = platform_version(), options.epoch, Layout(folder)
    wanted = chosen(options.only, options.runtimes)
    listed = sources(options.snapshot)
    base = make_base(layout, listed, epoch)
    tag = f"{BASE_TAG}:{version}-{os.getpid()}"
    labels = {
        "org.opencontainers.image.title": "Sandbox Platform",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.revision": options.commit,
    }
    made: dict[str, Normal] = {}
    with loaded(layout, tag, base), certificates.build_secrets(listed) as secrets:
        build = Build(epoch, tag, secrets, labels, tag.rpartition(":")[2])
        for name, image in wanted.items():
            content = images.fingerprint(image.content, "\0".join((base.id, *image.arguments)), image.context)
            made[name] = make(image, name, content, layout, build)
    tags = {name: f"{wanted[name].tag.rpartition(':')[0]}:{version}" for name in wanted}
    layout.write_index({tags[name]: image for name, image in made.items()})
    return {
        "version": version,
        "base": described(base, ""),
        "images": {name: described(image, tags[name]) for name, image in made.items()},
        "pinned": pinned_files(),
        "architecture": architecture(),
    }


def described(image: Normal, tag: str) -> dict[str, object]:
    return {
        "tag": tag,
        "digest": image.digest,
        "id": image.id,
        "size": image.size,
        "layers": [layer.digest for layer in image.layers],
        "debian": debian.installed(image.status),
        "files": image.files,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m scripts.release.building")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epoch", type=int, required=True)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--runtimes", default="core")
    parser.add_argument("--snapshot", default="")
    options = parser.parse_args(arguments)
    # Git leaves the group's and others' rights of its files to it, and images have them.
    os.umask(0o022)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        built = build_all(options.folder, options)
    except SetupError as error:
        return fail(error)
    (options.folder / "built.json").write_text(json.dumps(built), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
