"""Make a new image from a runtime's image and a list of packages."""

import json
import re
import select
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings

from builds.engine import BuildEngine
from builds.models import BuildKind, RuntimeBuild
from builds.record import BuildFailed, Record
from runtimes.packages import name_of
from sandboxes.engine import Channel, EngineError, ImageMissing

INSTALL = Path(__file__).with_name("install.sh")
# The machine's mirrors and certificates, written by `make`. A missing file counts as empty.
HOST_FILES = ("ca", "pip_conf", "npmrc", "apt_conf", "apt.sources", "environment")
POLL_S = 0.5


def repository() -> str:
    """Return the repository in which this node's builds are tagged. Installations on the same Docker have their own."""
    node = re.sub(r"[^a-z0-9]+", "-", settings.SANDBOX_NODE.lower()).strip("-") or "node"
    return f"{settings.SANDBOX_LABEL}/build-{node}"


def tag_of(build: RuntimeBuild) -> str:
    return f"{build.runtime_id}-{build.runtime.slug}-{build.number}"


def make(engine: BuildEngine, build: RuntimeBuild, record: Record) -> None:
    """Make the image, and store base_image_id, digest and image_id. Raises BuildFailed and EngineError."""
    base = resolve(engine, build, record)
    build.base_image_id = str(base["Id"])
    build.digest = next(iter(base.get("RepoDigests") or ()), "")
    if any(build.packages.values()):
        build.image_id = install(engine, build, record)
    else:
        # The tag keeps the image when its reference moves to another image.
        engine.tag(build.base_image_id, repository(), tag_of(build))
        build.image_id = build.base_image_id
    build.save(update_fields=["base_image_id", "digest", "image_id"])
    record.step(f"image {build.image_id}")


def resolve(engine: BuildEngine, build: RuntimeBuild, record: Record) -> dict[str, Any]:
    if build.kind == BuildKind.PULL:
        record.step(f"pulling {build.base}")
        try:
            for line in engine.pull(build.base):
                record.line(line)
                record.beat()
        except EngineError as e:
            record.line(str(e))
            record.line("not pulled; trying the image on this node")
    try:
        return engine.image(build.base)
    except ImageMissing as e:
        reason = "\n".join(list(record.last_lines)[-2:-1]) if build.kind == BuildKind.PULL else ""
        raise BuildFailed(
            f"The image {build.base} is not on the node {settings.SANDBOX_NODE}"
            + (f", and could not be pulled: {reason}" if reason else "; a build of the kind pull fetches it")
        ) from e


def install(engine: BuildEngine, build: RuntimeBuild, record: Record) -> str:
    record.step("starting the build")
    container = engine.create_builder(build.base_image_id, build.pk, files_of(build.packages))
    try:
        channel = engine.attach(container)
        try:
            engine.start(container)
            follow(channel, record)
        finally:
            channel.close()
        state = engine.state_after_end(container)
        if state.oom_killed:
            raise BuildFailed("The build exceeded the memory limit of builds.")
        if state.running or state.exit_code != 0:
            raise BuildFailed(record.failure_reason() or f"The installer exited with status {state.exit_code}.")
        record.step("writing the image")
        return engine.commit(container, build.base_image_id, repository(), tag_of(build))
    finally:
        engine.remove(container)


def follow(channel: Channel, record: Record) -> None:
    """Copy the container's output to the record until the stream ends."""
    rest = b""
    while True:
        record.beat()
        if not select.select([channel], [], [], POLL_S)[0]:
            continue
        received = channel.receive()
        if received is None:
            break
        *lines, rest = (rest + b"".join(received)).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            record.line(line.decode(errors="replace"))
    record.line(rest.decode(errors="replace"))
    record.beat(now=True)


def files_of(packages: Mapping[str, list[str]]) -> dict[str, str]:
    """Return the files for the container: install.sh and its inputs."""
    files = {name: _host_file(name) for name in HOST_FILES}
    for ecosystem in ("apt", "pip"):
        files[f"{ecosystem}.txt"] = "".join(f"{package}\n" for package in packages[ecosystem])
    if packages["npm"]:
        files["npm.json"] = json.dumps(dict(map(_npm_dependency, packages["npm"])))
    return files | {"install.sh": INSTALL.read_text(encoding="utf-8")}


def _host_file(name: str) -> str:
    path = settings.SANDBOX_BUILD_CONFIG / name
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _npm_dependency(package: str) -> tuple[str, str]:
    name = name_of("npm", package)
    return name, package[len(name) + 1 :] or "*"
