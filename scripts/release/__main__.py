"""Build the images of this version from a clean clone, and tag them with it: `make release`.

Clones the commit that is checked out, builds the images there without cache, and writes dist/: the images in the layout
of OCI, the chart for Kubernetes, and a list with the digest of each and what it was made of. Exits with 1 if something
was refused or differs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.release import archive, chart, debian
from scripts.setup import helm
from scripts.setup.docker import command as docker_command
from scripts.setup.docker import docker, is_running
from scripts.setup.host import ROOT, SetupError, fail, must, run, say, step

DIST = ROOT / "dist"
FIX = "make release"
# Of the files that differ between two builds of an image.
SHOWN = 20


@dataclass(frozen=True)
class Commit:
    name: str
    epoch: int  # its time: no file of an image is newer


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make release", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="build everything twice, and compare the digests")
    parser.add_argument("--pin", action="store_true", help="write down today's packages of Debian, and stop")
    parser.add_argument("--only", default="", metavar="A,B", help="only these images; nothing is tagged")
    parser.add_argument(
        "--runtimes", default="core", metavar="A,B", help="languages: core (default), all, or names"
    )
    parser.add_argument(
        "--snapshot", default="", metavar="URL",
        help="an archive that keeps Debian as it was; below it are debian/TIME and debian-security/TIME",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if options.pin and options.only:
        parser.error("--pin needs all images, not --only")
    return options


def head() -> Commit:
    said = must(["git", "log", "-1", "--format=%H %ct"], check="the commit to release", fix="git status")
    name, epoch = said.split()
    return Commit(name, int(epoch))


def warn_of_changes() -> None:
    if changed := run(["git", "status", "--porcelain"]).stdout.splitlines():
        say(f"    {len(changed)} changed files of this checkout are not in the release: commit them first")


def clone(source: Path, folder: Path, commit: Commit) -> None:
    """Check the commit out in a new repository. Nothing of this checkout's other files is there."""
    # With Git's own settings of files, whatever this user's are.
    plain = ["-c", "core.autocrlf=false", "-c", "core.fileMode=true"]
    for words in (
        ["init", "--quiet"],
        ["fetch", "--quiet", "--depth=1", f"file://{source}", "HEAD"],
        [*plain, "checkout", "--quiet", "--detach", commit.name],
    ):
        line: list[str | Path] = ["sh", "-c", 'umask 022; exec git "$@"', "sh", "-C", folder, *words]
        must(line, check="a clean clone", fix="git fsck")


def build(source: Path, folder: Path, commit: Commit, options: argparse.Namespace) -> dict[str, Any]:
    """Build the images in a clone of the source, below the folder. Return what was built."""
    (folder / "clone").mkdir()
    clone(source, folder / "clone", commit)
    line = [
        sys.executable, "-m", "scripts.release.building", folder / "images",
        "--epoch", str(commit.epoch), "--commit", commit.name,
        "--only", options.only, "--runtimes", options.runtimes, "--snapshot", options.snapshot,
    ]  # fmt: skip
    with subprocess.Popen(line, cwd=folder / "clone") as process:
        try:
            status = process.wait()
        except BaseException:
            # Let it remove what it has given to Docker.
            process.terminate()
            process.wait()
            raise
    if status != 0:
        log = folder / "clone/.setup/setup.log"
        if log.is_file():
            (ROOT / ".setup").mkdir(exist_ok=True)
            shutil.copy(log, ROOT / ".setup/release.log")
        raise SetupError("building the release", "see above, and .setup/release.log", FIX)
    found: dict[str, Any] = json.loads((folder / "images/built.json").read_text(encoding="utf-8"))
    (folder / "images/built.json").unlink()
    return found


@contextmanager
def working_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sandbox-platform-release-", dir="/var/tmp"))  # noqa: S108 -- by mkdtemp
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def compared(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the images whose digests differ, with the files that do; and the chart, if it does."""
    pairs = {"base": (first["base"], second["base"])}
    pairs |= {name: (image, second["images"][name]) for name, image in first["images"].items()}
    found = {
        name: differing(one["files"], other["files"]) or ["the configuration"]
        for name, (one, other) in pairs.items()
        if one["digest"] != other["digest"]
    }
    if first["chart"] != second["chart"]:
        found["chart"] = [(first["chart"] or second["chart"])["file"]]
    return found


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    return sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))


def report(different: Mapping[str, Sequence[str]], built: Mapping[str, Any]) -> None:
    parts = ["base", *built["images"], *(["chart"] if built["chart"] else [])]
    for name, files in different.items():
        say(f"DIFFERENT  {name}: {len(files)} files; layer and path of the first:")
        for path in files[:SHOWN]:
            say(f"             {path}")
    say(f"{len(set(parts) - different.keys())} of {len(parts)} parts were the same in two builds")


def packages(built: Mapping[str, Any]) -> dict[str, str]:
    return debian.together(image["debian"] for image in (built["base"], *built["images"].values()))


def pin(built: Mapping[str, Any]) -> None:
    path = debian.lock_path(ROOT, built["architecture"])
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path.write_text(debian.render(packages(built), moment), encoding="utf-8")
    say(f"{path.relative_to(ROOT)} has {len(packages(built))} packages. Commit it, then: make release")


def refuse_others(built: Mapping[str, Any], root: Path, *, whole: bool) -> None:
    """Raise SetupError if the images have other packages of Debian than the commit names."""
    pinned, _ = debian.read_lock(root, built["architecture"])
    if lines := debian.differences(packages(built), pinned, whole=whole):
        raise SetupError(
            "Debian's packages",
            "the mirror has others than the commit names:\n" + "\n".join(f"       {line}" for line in lines),
            "make release ARGS=--pin and commit, or --snapshot with an archive that has them",
        )


def tools() -> dict[str, str]:
    """Return the versions of what built the images and the chart: another one may build them otherwise."""
    program = helm.program()
    return {
        "mmdebstrap": run(["mmdebstrap", "--version"]).stdout.strip(),
        "docker": docker("version", "--format", "{{.Server.Version}}").stdout.strip(),
        "buildx": run(docker_command("buildx", "version")).stdout.strip(),
        "helm": run([program, "version", "--short"]).stdout.strip() if program else "",
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
    }


def listing(built: Mapping[str, Any], commit: Commit, builds: int) -> dict[str, Any]:
    """Return the list of a release: what it is, and what it was made of."""
    described = {
        name: {key: value for key, value in image.items() if key != "files"}
        for name, image in built["images"].items()
    }
    base = {key: built["base"][key] for key in ("digest", "id", "size", "layers", "debian")}
    return {
        "version": built["version"], "commit": commit.name, "source_date_epoch": commit.epoch,
        "architecture": built["architecture"], "builds_compared": builds,
        "base": base, "images": described, "chart": built["chart"], "gvisor": built["gvisor"],
        "inputs": built["pinned"], "tools": tools(),
    }  # fmt: skip


def write(folder: Path, built: Mapping[str, Any], commit: Commit, builds: int) -> Path:
    """Put images, chart and list into dist/."""
    DIST.mkdir(exist_ok=True)
    target = DIST / f"sandbox-platform-{built['version']}"
    packed = DIST / f"{target.name}.tgz"
    packed.unlink(missing_ok=True)
    if built["chart"]:
        shutil.move(folder / "images" / built["chart"]["file"], packed)
    shutil.rmtree(target, ignore_errors=True)
    shutil.move(folder / "images", target)
    path = DIST / f"{target.name}.json"
    path.write_text(json.dumps(listing(built, commit, builds), indent=1) + "\n", encoding="utf-8")
    return path


def tag(folder: Path, built: Mapping[str, Any]) -> None:
    """Let Docker load the images, and see that it calls them by their ids."""
    archive.load(folder)
    for image in built["images"].values():
        found = docker("image", "inspect", "--format", "{{.Id}}", image["tag"]).stdout.strip()
        if found != image["id"]:
            raise SetupError(image["tag"], f"Docker has {found}, built was {image['id']}", FIX)
        say(f"    {image['tag']}  {image['digest']}")


def release(options: argparse.Namespace) -> int:
    commit = head()
    warn_of_changes()
    if not is_running():
        raise SetupError("Docker", "the daemon does not answer", "make setup")
    with working_folder() as folder:
        for name in ("first", "second"):
            (folder / name).mkdir()
        built = build(ROOT, folder / "first", commit, options)
        if options.check:
            # The checkout may have another commit by now.
            second = build(folder / "first/clone", folder / "second", commit, options)
            different = compared(built, second)
            report(different, built)
            if different:
                return 1
        if options.pin:
            pin(built)
            return 0
        refuse_others(built, folder / "first/clone", whole=not options.only)
        if options.only:
            return 0
        path = write(folder / "first", built, commit, 2 if options.check else 1)
    with step(f"images of version {built['version']}"):
        tag(DIST / f"sandbox-platform-{built['version']}", built)
    say(f"{path.relative_to(ROOT)} has their digests and what they were made of")
    say(f"dist/{built['chart']['file']} is the chart" if built["chart"] else f"    {chart.MISSING}")
    return 0


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return release(parse())
    except SetupError as error:
        return fail(error)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
