"""Push the images of this machine to a registry, for Kubernetes: `make push REGISTRY=host/prefix`.

Copies the platform's images and those of the built runtimes from Docker, and writes a file of values for the chart with
the digest of each (docs/kubernetes.md).
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts.setup import apt
from scripts.setup.docker import command, is_running, on_path
from scripts.setup.host import ROOT, Command, SetupError, fail, must, say, step
from scripts.setup.hosts.invitation import platform_version
from scripts.setup.images import built_runtimes, inspect

VALUES = ROOT / "dist/values-images.yaml"
# Images of the platform itself, by the names of the chart's values.
NEEDED = ("platform", "agent", "egress", "postgres")
# For builds of runtimes in the cluster. Pushed if they are built.
FOR_BUILDS = ("builder", "fetch")
RUNTIME = "runtime-"
# Under this tag, agents ask the registry for the runtimes that are created with the platform.
LATEST = "latest"
REGISTRY = re.compile(r"[A-Za-z0-9.-]+(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
FIX = "make push REGISTRY=registry.example.com/sandbox-platform"
COPY_S = 3600.0


@dataclass(frozen=True)
class Pushed:
    """An image in the registry. `digest`: of its manifest."""

    name: str
    digest: str


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make push", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--registry", default="", metavar="HOST/PREFIX", help="without https://")
    parser.add_argument("--tag", default="", help="instead of the version")
    parser.add_argument("--only", default="", metavar="A,B", help="only these images: platform, runtime-python …")
    parser.add_argument("--values", type=Path, default=VALUES, metavar="FILE", help="where the values go")
    parser.add_argument("--auth-file", default="", metavar="FILE", help="Docker's or skopeo's file of log-ins")
    # Docker's keeps the configuration as it is, and with it the id by which the history names an image.
    parser.add_argument("--format", choices=["v2s2", "oci"], default="v2s2", help="of manifests")
    parser.add_argument("--plain-http", action="store_true", help="a registry without TLS, for tries")
    return parser.parse_args(arguments)


def checked(registry: str, tag: str) -> tuple[str, str]:
    """Return registry and tag. Raises SetupError if one is not in the form of an image's reference."""
    if not REGISTRY.fullmatch(registry):
        raise SetupError(
            f"REGISTRY={registry}", "not in the form host[:port]/prefix, without https:// and without a tag", FIX
        )
    tag = tag or platform_version()
    if not TAG.fullmatch(tag):
        raise SetupError(f"TAG={tag}", "letters, digits, '.', '_' and '-' only, 128 at most", f"{FIX} TAG=0.2.0")
    return registry, tag


def source(name: str) -> str:
    """Return the name under which Docker has an image."""
    return f"sandbox-platform/{name}:{LATEST}"


def chosen(only: str, here: Sequence[str]) -> list[str]:
    """Return the names of the images to push. `here`: those that Docker has. Raises SetupError for a missing one."""
    wanted = only.replace(",", " ").split()
    names = wanted or [*NEEDED, *(name for name in here if name not in NEEDED)]
    if missing := [name for name in names if name not in here]:
        raise SetupError(
            f"the image {source(missing[0])}",
            "Docker does not have it",
            "make build KUBERNETES=yes, or ONLY= with other images",
        )
    return names


def present() -> list[str]:
    """Return the names of the images that Docker has."""
    named = [name for name in (*NEEDED, *FOR_BUILDS) if inspect(source(name), "{{.Id}}")]
    return [*named, *(f"{RUNTIME}{slug}" for slug in sorted(built_runtimes()))]


def tags(name: str, tag: str) -> list[str]:
    return list(dict.fromkeys([tag, LATEST] if name.startswith(RUNTIME) or name == "fetch" else [tag]))


def copy_command(source: str, target: str, digest_file: Path, options: argparse.Namespace) -> Command:
    """Return the call of skopeo that copies an image. Source and target have the form transport:reference."""
    return [
        "skopeo", "copy", "--quiet", "--insecure-policy", "--format", options.format, "--retry-times", "3",
        "--digestfile", digest_file,
        *(["--dest-authfile", options.auth_file] if options.auth_file else []),
        *(["--dest-tls-verify=false"] if options.plain_http else []),
        source, target,
    ]  # fmt: skip


def copy(source: str, target: str, options: argparse.Namespace) -> str:
    """Copy an image and return the digest of its manifest at the target. Raises SetupError."""
    with TemporaryDirectory(prefix="sandbox-platform-push-") as folder:
        file = Path(folder) / "digest"
        fix = f"log in (skopeo login {target.removeprefix('docker://').partition('/')[0]}), then make push again"
        must(copy_command(source, target, file, options), check=f"pushing {target}", fix=fix, timeout=COPY_S)
        return file.read_text(encoding="utf-8").strip()


def push(name: str, registry: str, tag: str, options: argparse.Namespace) -> Pushed:
    """Push an image under its tags. Docker's own client would ask for a log-in of the daemon's, and tell no digest."""
    with step(f"image {registry}/{name}:{tag}") as current, working_file() as archive:
        save(source(name), archive)
        digests = [
            copy(f"docker-archive:{archive}", f"docker://{registry}/{name}:{each}", options)
            for each in tags(name, tag)
        ]
        current.note(digests[0])
    return Pushed(name, digests[0])


@contextmanager
def working_file() -> Iterator[Path]:
    with TemporaryDirectory(prefix="sandbox-platform-push-", dir="/var/tmp") as folder:  # noqa: S108 -- by mkdtemp
        yield Path(folder) / "image.tar"


def save(tag: str, archive: Path) -> None:
    with archive.open("wb") as out:
        done = subprocess.run(command("image", "save", tag), stdout=out, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise SetupError(f"saving {tag}", done.stderr.decode(errors="replace").strip(), FIX)


def values(registry: str, tag: str, pushed: Sequence[Pushed]) -> str:
    """Return the file of values: YAML, which Helm takes with `-f`."""
    runtimes = [one for one in pushed if one.name.startswith(RUNTIME)]
    lines = ["# Written by `make push`: which images the chart takes, each by its digest.", "images:"]
    lines += [f'  registry: "{registry}"', f'  tag: "{tag}"']
    lines += [f'  {one.name}: {{digest: "{one.digest}"}}' for one in pushed if one.name in (*NEEDED, "builder")]
    if runtimes:
        lines += ["runtimes:", *(f"  - {one.name.removeprefix(RUNTIME)}" for one in runtimes)]
    others = [one for one in pushed if one not in runtimes and one.name not in (*NEEDED, "builder")]
    if runtimes or others:
        lines += ["# Agents and builder ask the registry for these by tag:"]
        lines += [f"#   {one.name}@{one.digest}" for one in (*runtimes, *others)]
    return "\n".join(lines) + "\n"


def ensure_skopeo() -> None:
    if not on_path("skopeo"):
        apt.install(["skopeo"])


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    try:
        registry, tag = checked(options.registry, options.tag)
        if not is_running():
            raise SetupError("Docker", "the daemon does not answer", "make setup")
        ensure_skopeo()
        pushed = [push(name, registry, tag, options) for name in chosen(options.only, present())]
        options.values.parent.mkdir(parents=True, exist_ok=True)
        options.values.write_text(values(registry, tag, pushed), encoding="utf-8")
    except SetupError as error:
        return fail(error)
    except KeyboardInterrupt:
        return 130
    say(f"{options.values} names them: helm install … -f {options.values} (docs/kubernetes.md)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
