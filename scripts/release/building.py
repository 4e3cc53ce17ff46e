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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts.release import archive, chart, debian, runsc
from scripts.release.archive import Layout, Normal
from scripts.setup import apt, certificates, images
from scripts.setup.docker import docker
from scripts.setup.host import ROOT, SetupError, fail, step
from scripts.setup.hosts.invitation import platform_version
from scripts.setup.images import Image

BASE = "base"
PREFIX = "sandbox-platform/"
BASE_TAG = f"{PREFIX}release-base"
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
    "scripts/setup/runsc/go.mod",
    "scripts/setup/runsc/go.sum",
)
# Only Kubernetes needs them. Each is made of another image of the release.
MADE_OF = {"agent": "platform", "builder": "agent"}
# Every machine has its own mirrors, and builds mount them: an image names none.
NO_SOURCES = (
    'cd "$1"/etc/apt && rm -rf sources.list sources.list.d/* '
    "&& echo '# The platform mounts the sources of its host here.' > sources.list.d/debian.sources"
)
FIX = "make release"


def images_of_the_base(runtimes: str) -> dict[str, Image]:
    found = [
        images.platform_image(), images.postgres_image(), images.egress_image(), images.fetch_image(),
        images.tls_image(), *images.runtime_images(runtimes),
    ]  # fmt: skip
    return {image.name.replace(" ", "-"): image for image in found}


def ancestors(name: str) -> list[str]:
    """Return the images that an image is made of, each behind its own."""
    parent = MADE_OF.get(name)
    return [*ancestors(parent), parent] if parent else []


def chosen(only: str, runtimes: str) -> list[str]:
    """Return the names of a release's images, or those of a list, each behind what it is made of.

    Raises SetupError for an unknown name.
    """
    # These first: Docker is given what they are made of together with everything that is there by then.
    every = [*MADE_OF, *images_of_the_base(runtimes)]
    names = only.replace(",", " ").split() or every
    if unknown := sorted(set(names) - set(every)):
        known = " ".join(dict.fromkeys(every))
        raise SetupError(f"--only {only}", f"{unknown[0]} is no image of a release", f"some of: {known}")
    return list(dict.fromkeys(each for name in names for each in (*ancestors(name), name)))


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

    def tag(self, name: str) -> str:
        return f"{PREFIX}release-{name}:{self.mark}"

    def parent(self, name: str) -> str:
        """Return the tag of the image that this one is made of."""
        return self.tag(MADE_OF[name]) if name in MADE_OF else self.base


def make(image: Image, name: str, content: str, layout: Layout, build: Build) -> Normal:
    """Build an image without cache, and write what Docker made of it anew."""
    tag = build.tag(name)
    labels = {**build.labels, images.CONTENT_LABEL: content}
    with step(f"image {name}") as current:
        line = images.build_command(
            image, build.secrets, tag, "--no-cache",
            "--build-arg", f"SOURCE_DATE_EPOCH={build.epoch}",
            "--build-context", f"{image.made_of}=docker-image://{build.parent(name)}",
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


def make_all(
    wanted: Sequence[str], runtimes: str, layout: Layout, build: Build, base: Normal, gvisor: Path | None
) -> dict[str, Normal]:
    """Build the images in this order. While others are made of one, Docker has it as it is written. `gvisor`: runsc."""
    plain, made = images_of_the_base(runtimes), dict[str, Normal]()
    with ExitStack() as stack:
        for name in wanted:
            if name == "agent" and gvisor:
                image = images.agent_image(gvisor, made["platform"].id)
            elif name == "builder":
                image = images.builder_image(made["agent"].id)
            else:
                image = plain[name]
            content = images.fingerprint(image.content, "\0".join((base.id, *image.arguments)), image.context)
            if gvisor and image.contexts:
                copy = stack.enter_context(runsc.copied(gvisor, build.epoch))
                image = replace(image, contexts=(("gvisor", copy),))
            made[name] = make(image, name, content, layout, build)
            if any(MADE_OF.get(other) == name for other in wanted):
                stack.enter_context(loaded(layout, build.tag(name), made[name]))
    return made


def build_all(folder: Path, options: argparse.Namespace) -> dict[str, object]:
    version, epoch, layout = platform_version(), options.epoch, Layout(folder)
    wanted = chosen(options.only, options.runtimes)
    gvisor = runsc.pinned() if "agent" in wanted else None
    listed = sources(options.snapshot)
    base = make_base(layout, listed, epoch)
    tag = f"{BASE_TAG}:{version}-{os.getpid()}"
    labels = {
        "org.opencontainers.image.title": "Sandbox Platform",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.revision": options.commit,
    }
    with loaded(layout, tag, base), certificates.build_secrets(listed) as secrets:
        build = Build(epoch, tag, secrets, labels, tag.rpartition(":")[2])
        made = make_all(wanted, options.runtimes, layout, build, base, gvisor)
    layout.write_index({f"{PREFIX}{name}:{version}": image for name, image in made.items()})
    return {
        "version": version,
        "base": described(base, ""),
        "images": {name: described(image, f"{PREFIX}{name}:{version}") for name, image in made.items()},
        "gvisor": runsc.described(gvisor) if gvisor else None,
        "chart": None if options.only else chart.package(folder, version, epoch),
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
