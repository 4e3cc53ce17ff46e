"""Make a new image from a runtime's image and a list of packages."""

import re
from pathlib import Path
from typing import Any

from django.conf import settings

from builds import describing
from builds.engine import INSIDE, BuildEngine
from builds.fetching import fetch, removed
from builds.models import BuildKind, RuntimeBuild
from builds.record import BuildFailed, Record
from builds.running import run
from runtimes.packages import name_of
from sandboxes.engine import EngineError, ImageMissing

SCRIPTS = Path(__file__).with_name("inside")
# Of a file or folder of the image.
MAX_BYTES = 32 * 1024**2


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
    """Install the packages in a container of the image, and return the id of the new image.

    Everything is fetched elsewhere: the container has no network and no secrets.
    """
    record.step("starting the build")
    with removed(engine, engine.create_builder(build.base_image_id, build.pk)) as container:
        engine.put(container, INSIDE, {"build.sh": _script("build.sh")})
        if build.packages["apt"]:
            install_apt(engine, build, record, container)
        if build.packages["pip"] or build.packages["npm"]:
            install_languages(engine, build, record, container)
        run_step(engine, container, record, "clean")
        record.step("writing the image")
        return engine.commit(container, build.base_image_id, repository(), tag_of(build))


def run_step(engine: BuildEngine, container: str, record: Record, step: str, **files: str) -> dict[str, Any]:
    engine.put(container, INSIDE, {"step": f"{step}\n", **files})
    return run(engine, container, record)


def install_apt(engine: BuildEngine, build: RuntimeBuild, record: Record, container: str) -> None:
    read = (
        describing.STATUS, describing.ARCHITECTURES, *describing.SOURCES, *describing.PREFERENCES,
        *describing.KEYS, *describing.RELEASE,
    )  # fmt: skip
    image = describing.apt_image(_files(engine, container, *read))
    for host in image.left_out:
        record.line(f"source of the image not used, because SANDBOX_BUILD_HOSTS does not name it: {host}")
    if not image.sources:
        raise BuildFailed(
            "apt: no source for this image: neither the host's nor the image's own are for it. Name the host of one "
            "in SANDBOX_BUILD_HOSTS."
        )
    job = {"apt": {"packages": build.packages["apt"], "architectures": image.architectures}}
    files: dict[str, str | bytes] = {
        "apt/status": image.status,
        "apt/apt.sources": image.sources,
        "apt/preferences": image.preferences,
        **{f"keys{path}": content for path, content in image.keys.items()},
    }
    fetch(engine, build, record, container, job, files, image.sources)
    run_step(engine, container, record, "apt")


def install_languages(engine: BuildEngine, build: RuntimeBuild, record: Record, container: str) -> None:
    pip, npm = build.packages["pip"], build.packages["npm"]
    asked = [name for name, wanted in (("facts.py", pip), ("facts.js", npm)) if wanted]
    facts = run_step(engine, container, record, "describe", **{name: _script(name) for name in asked})
    job: dict[str, Any] = {}
    files: dict[str, str | bytes] = {}
    if pip:
        python = describing.python_image(facts.get("python"))
        job["pip"] = {
            "packages": pip, "arguments": python.arguments, "markers": python.markers, "too_old": python.too_old,
        }  # fmt: skip
        files |= {f"installed/{folder}/METADATA": text for folder, text in python.installed.items()}
    if npm:
        there = describing.node_modules(
            _files(engine, container, describing.NODE_LOCK).get(describing.NODE_LOCK, b"")
        )
        # npm removes packages that package.json does not name, so name those already in the image, at their versions.
        job["npm"] = {
            "dependencies": there | dict(map(_npm_dependency, npm)),
            "node": describing.node_image(facts.get("node")),
        }
    fetch(engine, build, record, container, job, files)
    wanted: dict[str, str] = {}
    if pip:
        wanted = {"pip.txt": "".join(f"{name}\n" for name in pip), "offline_pip.py": _script("offline_pip.py")}
    run_step(engine, container, record, "languages", **wanted)


def _files(engine: BuildEngine, container: str, *paths: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for path in paths:
        try:
            found |= engine.files(container, path, MAX_BYTES)
        except ValueError as e:
            raise BuildFailed(f"{path} of this image cannot be read: {e}.") from e
    return found


def _script(name: str) -> str:
    return (SCRIPTS / name).read_text(encoding="utf-8")


def _npm_dependency(package: str) -> tuple[str, str]:
    name = name_of("npm", package)
    return name, package[len(name) + 1 :] or "*"
