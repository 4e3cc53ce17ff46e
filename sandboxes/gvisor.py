"""Versions of gVisor's runsc, and the security advisories that are known for it.

Uses only the standard library: `make setup` decides by it, before anything is installed.
"""

from __future__ import annotations

import mmap
import re
import subprocess
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

VERSION = re.compile(r"version (\S+)")
# release-20260824.0, 0.0~20240729.0 (Debian), v0.0.0-20260905035102-160fafc42237+filters (the Go module)
DATE = re.compile(r"(?<!\d)20\d{6}")
# Ends the version of a build of the Go module that holds its seccomp filters compiled.
FILTERS = "+filters"
# Go records the version of the main module in the binary.
MODULE = re.compile(rb"\bgvisor\.dev/gvisor\t(v[\w.+-]+)")


@dataclass(frozen=True)
class Advisory:
    name: str
    effect: str
    published: date
    fixed: date  # date in the name of the first release with the fix
    source: str


# Reviewed on 2026-11-28: NVD and gVisor's repository.
ADVISORIES = (
    Advisory(
        "CVE-2025-2713",
        "local privilege escalation in runsc",
        published=date(2025, 3, 28),
        fixed=date(2025, 3, 19),
        source="https://nvd.nist.gov/vuln/detail/CVE-2025-2713",
    ),
    # Fixed by commit 573a9e73cf844f of 17 August 2026. No engine passes a device into a sandbox, and no shipped image
    # holds one: tests/sandboxes/test_flags_live.py.
    Advisory(
        "CVE-2026-96812",
        "root on a host with CUSE, for an image with a character device",
        published=date(2026, 9, 25),
        fixed=date(2026, 8, 24),
        source="https://nvd.nist.gov/vuln/detail/CVE-2026-96812",
    ),
)


def version_of(runsc: Path | str) -> str:
    """Return the version of a runsc binary, or "" if it does not tell one."""
    try:
        done = subprocess.run([runsc, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = VERSION.search(done.stdout)
    version = found[1] if found else ""
    # A plain build of the Go module says VERSION_MISSING.
    return version if not version or released(version) else module_version(Path(runsc)) or version


def module_version(binary: Path) -> str:
    """Return the version of the Go module that a binary was built from, or "" if it was built from none."""
    with binary.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = MODULE.search(content)
        return found[1].decode() if found else ""


def released(version: str) -> date | None:
    """Return the date in a version: of the release, or of the commit for a build of the Go module."""
    found = DATE.search(version)
    try:
        return datetime.strptime(found[0], "%Y%m%d").date() if found else None
    except ValueError:
        return None


def has_compiled_filters(version: str) -> bool:
    """Return whether runsc holds its own seccomp filters compiled, or compiles them whenever a sandbox starts.

    gVisor's releases hold them. A build of the Go module does if `make` has built it, which says so in the version.
    """
    return not version.startswith("v") or version.endswith(FILTERS)


def open_advisories(version: str) -> list[Advisory]:
    """Return the known advisories that a version is not fixed for: all of them if it has no date."""
    day = released(version)
    return [advisory for advisory in ADVISORIES if day is None or day < advisory.fixed]


def is_current(version: str) -> bool:
    return bool(version) and not open_advisories(version)
