"""Ask pip-audit and debsecan for known vulnerabilities; gVisor's are in sandboxes/gvisor.py.

What could not be asked is told, and never counts as clean.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandboxes import gvisor
from scripts.scan.inventory import Inventory
from scripts.setup import apt
from scripts.setup.host import SetupError

TIME = 300
SUMMARY = re.compile(r"(?P<id>\S+) (?P<package>\S+)(?: \((?P<notes>.*)\))?")


@dataclass(frozen=True)
class Hole:
    where: str  # file or image
    package: str
    id: str  # CVE, or that of the advisory
    fix: str  # what mends it; empty if nothing does yet
    notes: str = ""


class NotLooked(Exception):
    """Nothing is known about the vulnerabilities of something. The message gives the reason."""


def of_requirements(path: Path, environment: Mapping[str, str] = os.environ) -> list[Hole]:
    """Return the known vulnerabilities of locked Python packages. Raises NotLooked.

    SANDBOX_SCAN_OSV_URL: a mirror of the OSV API, instead of the package index' own advisories.
    """
    mirror = environment.get("SANDBOX_SCAN_OSV_URL", "")
    service = ["--vulnerability-service", "osv", "--osv-url", mirror] if mirror else []
    done = _run(
        sys.executable, "-m", "pip_audit", "--requirement", str(path), "--require-hashes", "--disable-pip",
        "--format", "json", "--progress-spinner", "off", *service,
    )  # fmt: skip
    try:
        dependencies = json.loads(done.stdout)["dependencies"]
    except (KeyError, TypeError, ValueError) as error:
        raise NotLooked(_last_line(done)) from error
    if skipped := [each["name"] for each in dependencies if "skip_reason" in each]:
        raise NotLooked(f"no answer about {', '.join(skipped[:5])}")
    return [
        Hole(path.name, f"{each['name']} {each['version']}", hole["id"], ", ".join(hole["fix_versions"]))
        for each in dependencies
        for hole in each["vulns"]
    ]


def of_debian(
    name: str, inventory: Inventory, folder: Path, environment: Mapping[str, str] = os.environ
) -> list[Hole]:
    """Return what Debian's security tracker knows of an image's packages. Raises NotLooked.

    SANDBOX_SCAN_DEBIAN_URL: a mirror of https://security-tracker.debian.org/tracker/debsecan/release/1/
    """
    if inventory.distribution != "debian" or not inventory.codename:
        raise NotLooked(
            f"its packages are not Debian's but those of {inventory.distribution or 'an unknown system'}"
        )
    if shutil.which("debsecan") is None:
        try:
            apt.install(["debsecan"])
        except SetupError as error:
            raise NotLooked(f"debsecan cannot be installed: {error.args[0].splitlines()[0]}") from error
    status = folder / "dpkg-status"
    status.write_bytes(inventory.status)
    source = environment.get("SANDBOX_SCAN_DEBIAN_URL", "")
    done = _run(
        "debsecan", "--suite", inventory.codename, "--status", str(status), "--format", "summary",
        *(["--source", source] if source else []),
    )  # fmt: skip
    if done.returncode != 0:
        raise NotLooked(_last_line(done))
    return [_hole(name, line) for line in done.stdout.splitlines() if line]


def of_gvisor(name: str, inventory: Inventory) -> list[Hole]:
    """Return the advisories that the gVisor in an image is not fixed for. On a host, `make doctor` tells them."""
    return [
        Hole(
            name, f"gvisor {version}", advisory.name, "make setup, then make build KUBERNETES=yes", advisory.effect
        )
        for version in inventory.gvisor
        for advisory in gvisor.open_advisories(version)
    ]


def _hole(name: str, line: str) -> Hole:
    found = SUMMARY.fullmatch(line)
    if found is None:
        raise NotLooked(f"debsecan said {line!r}")
    notes = [note for note in (found["notes"] or "").split(", ") if note]
    fix = "a newer package of Debian" if "fixed" in notes else ""
    return Hole(name, found["package"], found["id"], fix, ", ".join(note for note in notes if note != "fixed"))


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=TIME)
    except subprocess.TimeoutExpired as error:
        raise NotLooked(f"no answer within {TIME} s") from error


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return lines[-1][:300] if lines else f"exit status {done.returncode}"
