"""Build the container images: a Debian base that needs no registry, and ours, rebuilt only when they change."""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts.setup import apt, certificates, envfile, gvisor
from scripts.setup.certificates import build_secrets
from scripts.setup.docker import command, docker
from scripts.setup.host import LOG, ROOT, SetupError, follow, must, release, run, step, tail

BASE = "debian:trixie-slim"
CONTENT_LABEL = "sandbox-platform.content"
PLATFORM_TAG = "sandbox-platform/platform:latest"
AGENT_TAG = "sandbox-platform/agent:latest"
BUILDER_TAG = "sandbox-platform/builder:latest"
RUNTIME_TAG = "sandbox-platform/runtime-"
IMAGES = ROOT / "images"
NPM = ROOT / "images/npm.txt"
# Without a line from a build. Most packages take seconds, and a wheel that is built minutes.
SILENCE_S = 1800.0
# Manual pages and translations, which Debian's own slim images leave out too.
SLIM = (
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/lintian/*",
)


# Folders that tools fill: their content follows from the other files.
GENERATED = {"__pycache__", "node_modules", "vendor"}


@dataclass(frozen=True)
class Image:
    name: str
    tag: str
    dockerfile: Path
    context: Path
    content: tuple[Path, ...]  # files and directories; a change of any causes a rebuild
    arguments: tuple[str, ...] = ()  # build arguments, NAME=value
    contexts: tuple[tuple[str, Path], ...] = ()  # folders beside the context, by the names in the Dockerfile
    made_of: str = BASE  # tag of the image that its Dockerfile begins with


def ignored_except(dockerignore: str) -> list[str]:
    """Return the patterns that a deny-all .dockerignore permits."""
    return [line[1:].strip("/") for line in dockerignore.splitlines() if line.startswith("!")]


def npm_argument() -> str:
    """Return the build argument of the Dockerfiles that need npm: the lines of images/npm.txt in one."""
    lines = NPM.read_text(encoding="utf-8").splitlines()
    words = [line.rstrip("\\").strip() for line in lines if not line.startswith("#")]
    return f"NPM={' '.join(words)}"


def platform_image() -> Image:
    patterns = ignored_except((ROOT / ".dockerignore").read_text(encoding="utf-8"))
    content = [path for pattern in patterns for path in ROOT.glob(pattern)]
    return Image(
        "platform", PLATFORM_TAG, ROOT / "Dockerfile", ROOT, (ROOT / "Dockerfile", *content), (npm_argument(),)
    )


def postgres_image() -> Image:
    folder = IMAGES / "postgres"
    return Image("postgres", "sandbox-platform/postgres:latest", folder / "Dockerfile", folder, (folder,))


def egress_image() -> Image:
    folder = IMAGES / "egress"
    return Image("egress", "sandbox-platform/egress:latest", folder / "Dockerfile", folder, (folder,))


def fetch_image() -> Image:
    folder = IMAGES / "fetch"
    return Image("fetch", certificates.FETCH_TAG, folder / "Dockerfile", folder, (folder,), (npm_argument(),))


def tls_image() -> Image:
    folder = IMAGES / "tls"
    return Image("tls", "sandbox-platform/tls:latest", folder / "Dockerfile", folder, (folder,))


def agent_image(runsc: Path, platform: str = "") -> Image:
    """Return the image of a node of Kubernetes, which the stack has no use for. `runsc`: a version that is installed.

    `platform`: the id of the platform's image, by default of the one that Docker has. Raises SetupError for a runsc
    that `make` has not installed: what is beside it would be sent to the build.
    """
    if runsc.parent.parent != gvisor.FOLDER:
        raise SetupError("gVisor for the agent's image", f"{runsc} is not in {gvisor.FOLDER}", "make setup")
    folder, version = IMAGES / "agent", runsc.parent.name
    # With another platform, or another gVisor, it is another image.
    arguments = (f"PLATFORM={platform or inspect(PLATFORM_TAG, '{{.Id}}')}", f"GVISOR={version}")
    contexts = (("gvisor", runsc.parent),)
    return Image("agent", AGENT_TAG, folder / "Dockerfile", folder, (folder,), arguments, contexts, PLATFORM_TAG)


def builder_image(agent: str = "") -> Image:
    """Return the image of `manage.py builder`, which is made of the agent's. The stack has no use for it.

    `agent`: the id of the agent's image, by default of the one that Docker has.
    """
    folder = IMAGES / "builder"
    # With another agent it is another image.
    arguments = (f"AGENT={agent or inspect(AGENT_TAG, '{{.Id}}')}",)
    return Image("builder", BUILDER_TAG, folder / "Dockerfile", folder, (folder,), arguments, made_of=AGENT_TAG)


def runtime_image(manifest: Path) -> Image:
    """Return a runtime's image, built with the directory's own Dockerfile or with the shared one."""
    folder = manifest.parent
    name, tag = f"runtime {folder.name}", f"{RUNTIME_TAG}{folder.name}:latest"
    # The manifest describes the runtime's row and is not part of the image.
    content = (*(path for path in folder.iterdir() if path != manifest), IMAGES / "runner")
    dockerfile = folder / "Dockerfile"
    if dockerfile.exists():
        own = (npm_argument(),) if "ARG NPM\n" in dockerfile.read_text(encoding="utf-8") else ()
        return Image(name, tag, dockerfile, IMAGES, content, own)
    packages = tomllib.loads(manifest.read_text(encoding="utf-8")).get("packages", {})
    arguments = (f"FOLDER={folder.name}", f"APT={' '.join(packages.get('apt', []))}")
    return Image(name, tag, IMAGES / "runner" / "Dockerfile", IMAGES, content, arguments)


def runtime_images(wanted: str) -> list[Image]:
    """Return the images of `core`, of `all`, or of the named runtimes. Raises SetupError for an unknown name."""
    manifests = {path.parent.name: path for path in sorted(IMAGES.glob("*/runtime.toml"))}
    if wanted == "all":
        names = list(manifests)
    elif wanted == "core":
        names = [name for name, path in manifests.items() if is_core(path)]
    else:
        names = wanted.replace(",", " ").split()
    if unknown := sorted(set(names) - set(manifests)):
        raise SetupError(
            f"RUNTIMES={wanted}",
            f"images/{unknown[0]}/runtime.toml does not exist",
            f"make build RUNTIMES=core, all, or some of: {' '.join(manifests)}",
        )
    return [runtime_image(manifests[name]) for name in names]


def is_core(manifest: Path) -> bool:
    return bool(tomllib.loads(manifest.read_text(encoding="utf-8")).get("core", False))


def wanted_runtimes() -> str:
    return os.environ.get("RUNTIMES") or envfile.settings().get("SANDBOX_RUNTIMES") or "core"


def built_runtimes() -> list[str]:
    """Return the slugs of the runtimes whose image exists on this machine."""
    listed = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", f"reference={RUNTIME_TAG}*")
    tags = set(listed.stdout.split())
    return [p.parent.name for p in IMAGES.glob("*/runtime.toml") if f"{RUNTIME_TAG}{p.parent.name}:latest" in tags]


def fingerprint(paths: Iterable[Path], salt: str, top: Path) -> str:
    digest = hashlib.sha256(salt.encode())
    files: set[Path] = set()
    for path in paths:
        files |= {path} if path.is_file() else {file for file in path.rglob("*") if file.is_file()}
    for file in sorted(files):
        if GENERATED & set(file.parts):
            continue
        mode = "x" if file.stat().st_mode & 0o100 else "-"
        digest.update(f"{file.relative_to(top)}\0{mode}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def inspect(tag: str, template: str) -> str:
    done = docker("image", "inspect", "--format", template, tag)
    return done.stdout.strip() if done.returncode == 0 else ""


def fresh() -> bool:
    """Return whether everything is to be built anew, with the packages of today: `make build FRESH=yes`."""
    return os.environ.get("FRESH", "").lower() in {"1", "yes", "true"}


def for_kubernetes() -> bool:
    """Return whether the images that only Kubernetes needs are to be built, too: `make build KUBERNETES=yes`."""
    return os.environ.get("KUBERNETES", "").lower() in {"1", "yes", "true"}


def ensure_base() -> None:
    with step(f"base image {BASE}") as current:
        if inspect(BASE, "{{.Id}}") and not fresh():
            current.note("present")
        elif docker("pull", "--quiet", BASE, timeout=120).returncode == 0:
            current.note("pulled")
        else:
            bootstrap_base()
            current.note("no registry reachable; built with mmdebstrap from this machine's Debian mirror")


def bootstrap_base() -> None:
    fix = f"docker pull {BASE} on a machine with a registry, then docker save / docker load"
    sources = "\n".join(source.render() for source in apt.trixie_sources())
    with TemporaryDirectory(prefix="sandbox-platform-base-") as folder:
        tar = Path(folder) / "trixie.tar"
        bootstrap(tar, sources, fix=fix)
        done = docker("import", "--change", 'CMD ["bash"]', tar, BASE, timeout=1800)
        if done.returncode != 0:
            raise SetupError("docker import of the base image", tail(done), fix)


def bootstrap(tar: Path, sources: str, *, fix: str, environment: Sequence[str] = (), hook: str = "") -> None:
    """Write the files of a Debian 13 into an archive.

    `sources`: apt's sources; if empty, mmdebstrap's own. `environment`: NAME=value of mmdebstrap. `hook`: a command of
    the shell at the end, with the folder of the files as `$1`.
    """
    if run(["mmdebstrap", "--version"]).returncode != 0:
        apt.install(apt.package_names(["mmdebstrap"], release()))
    mirror: list[str | Path] = []
    if sources:
        listed = tar.with_name("debian.sources")
        listed.write_text(sources, encoding="utf-8")
        mirror = [listed]
    # Rename the file to the name in Debian's own images, so that a build's secret mount covers it.
    folder_in_image = '"$1"/etc/apt/sources.list.d'
    rename = f"if cd {folder_in_image} && [ -e 0000debian.sources ]; then mv 0000* debian.sources; fi"
    must(
        [
            "env", *environment, "mmdebstrap", "--variant=minbase", "--mode=root", "--quiet",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in SLIM),
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
            "--aptopt=Apt::Install-Recommends false",
            f"--customize-hook={rename}",
            *([f"--customize-hook={hook}"] if hook else []),
            "trixie", tar, *mirror,
        ],
        root=True, timeout=3600, check="building the base image", fix=fix,
    )  # fmt: skip


def build_all(images: Sequence[Image]) -> None:
    base = inspect(BASE, "{{.Id}}")
    with build_secrets() as secrets, ThreadPoolExecutor(max_workers=3) as pool:
        # Let every build run to its end, so that the log shows all errors and not only the first.
        outcomes = [pool.submit(build, image, base, secrets) for image in images]
        errors = [error for outcome in outcomes if (error := outcome.exception())]
    # Remove replaced images. Docker keeps those that a sandbox still uses.
    docker("image", "prune", "--force", "--filter", f"label={CONTENT_LABEL}")
    if errors:
        raise errors[0]


def build(image: Image, base: str, secrets: Sequence[str]) -> None:
    with step(f"image {image.tag}") as current:
        content = fingerprint(image.content, "\0".join((base, *image.arguments)), image.context)
        if not fresh() and inspect(image.tag, f'{{{{index .Config.Labels "{CONTENT_LABEL}"}}}}') == content:
            current.note("unchanged")
            return
        line = build_command(
            image, secrets, image.tag,
            "--label", f"{CONTENT_LABEL}={content}",
            *(["--no-cache"] if fresh() else []),
        )  # fmt: skip
        run_build(line, image.tag)
        current.note("built")


def build_command(image: Image, secrets: Sequence[str], tag: str, *options: str) -> list[str]:
    return command(
        "buildx", "build", "--load", "--network=host", "--progress=plain", "--provenance=false",
        *options,
        *secrets,
        *(word for name, folder in image.contexts for word in ("--build-context", f"{name}={folder}")),
        *(word for argument in image.arguments for word in ("--build-arg", argument)),
        "--tag", tag,
        "--file", image.dockerfile,
        image.context,
    )  # fmt: skip


def run_build(line: Sequence[str], tag: str) -> None:
    done = follow(line, silence_s=SILENCE_S, shown=lambda newest: newest[:90])
    if done.returncode != 0:
        raise SetupError(
            f"building {tag}", f"\n{tail(done)}\n(full output: {LOG.relative_to(ROOT)})", "make build"
        )


def ensure_all() -> None:
    ensure_base()
    others = [postgres_image(), egress_image(), fetch_image(), platform_image()]
    if envfile.has_tls():
        others.append(tls_image())
    build_all([*runtime_images(wanted_runtimes()), *others])
    certificates.renew_fetch_image()
    if for_kubernetes():
        # Made of the platform's image, and the next of the agent's.
        build_all([agent_image(gvisor.ensure())])
        build_all([builder_image()])
