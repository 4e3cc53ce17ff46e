"""What an image holds, read from its files: nothing in it is run."""

from __future__ import annotations

import contextlib
import json
import posixpath
import re
import subprocess
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from email.parser import HeaderParser
from typing import IO

from scripts.setup.docker import command, docker
from scripts.setup.host import parse_os_release

STATUS = "var/lib/dpkg/status"
# /etc/os-release is a link to it.
RELEASE = "usr/lib/os-release"
# Written when the platform's image is built; see console/frontend/build.mjs.
BROWSER = "app/console/static/vendor/packages.json"
# In the images for Kubernetes. Its folder has the name of its version, and no list of packages has it.
RUNSC = re.compile(r"usr/local/lib/sandbox-platform/gvisor/([^/]+)/runsc")
LARGEST = 64 * 1024**2


@dataclass(frozen=True, order=True)
class Package:
    kind: str  # of package URLs: deb, pypi, npm or generic (gVisor)
    name: str
    version: str
    architecture: str = ""


@dataclass
class Inventory:
    packages: set[Package] = field(default_factory=set)
    distribution: str = ""  # debian
    release: str = ""  # 13
    codename: str = ""  # trixie
    status: bytes = b""  # dpkg's file, for debsecan

    @property
    def gvisor(self) -> list[str]:
        """Return the versions of gVisor in the image."""
        return sorted(package.version for package in self.packages if package.kind == "generic")


def of_image(image: str) -> Inventory:
    """Return what an image of this machine holds. Raises OSError."""
    made = docker("create", "--network=none", image, "true")
    if made.returncode != 0:
        raise OSError(made.stderr.strip())
    container = made.stdout.strip()
    try:
        with subprocess.Popen(command("export", container), stdout=subprocess.PIPE) as export:
            assert export.stdout is not None  # noqa: S101 -- for the type checker
            return of_files(export.stdout)
    finally:
        docker("rm", "--force", container)


def of_files(stream: IO[bytes]) -> Inventory:
    """Return what a tar stream of a file system holds."""
    found = Inventory()
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for entry in tar:
            name = posixpath.normpath(entry.name)
            if entry.isreg() and (runsc := RUNSC.fullmatch(name)):
                found.packages.add(Package("generic", "gvisor", runsc[1]))
            elif entry.isreg() and entry.size <= LARGEST and _is_of_interest(name):
                content = tar.extractfile(entry)
                _add(found, name, content.read() if content else b"")
    return found


def _is_of_interest(name: str) -> bool:
    folder, base = posixpath.split(name)
    if base == "METADATA":
        return folder.endswith(".dist-info")
    if base == "package.json":
        return "node_modules" in name.split("/")
    return name in (STATUS, RELEASE, BROWSER)


def _add(found: Inventory, name: str, content: bytes) -> None:
    text = content.decode(errors="replace")
    if name == STATUS:
        found.status = content
        found.packages.update(debian_packages(text))
    elif name == RELEASE:
        release = parse_os_release(text)
        found.distribution, found.release = release.distribution, release.version
        found.codename = release.codename
    elif name.endswith("/METADATA"):
        headers = HeaderParser().parsestr(text)
        found.packages.update(_named("pypi", headers["Name"], headers["Version"]))
    else:
        with contextlib.suppress(ValueError):  # fixtures in packages need not be JSON
            loaded = json.loads(text)
            for each in loaded if isinstance(loaded, list) else [loaded]:
                if isinstance(each, dict):
                    found.packages.update(_named("npm", each.get("name"), each.get("version")))


def debian_packages(status: str) -> Iterator[Package]:
    """Yield the installed packages of dpkg's list."""
    for paragraph in status.split("\n\n"):
        fields = HeaderParser().parsestr(paragraph.strip() + "\n\n")
        if fields["Status"] and fields["Status"].split()[-1] == "installed":
            yield Package("deb", fields["Package"], fields["Version"], fields["Architecture"] or "")


def _named(kind: str, name: object, version: object) -> Iterable[Package]:
    return [Package(kind, str(name), str(version))] if name and version else []
