"""`make scan`: package lists of the images as CycloneDX, and what is known of vulnerabilities in them.

Exit status: 0 nothing to mend, 1 something to mend, 2 nothing found but not everything could be looked at.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts.scan import inventory, sbom, vulnerabilities
from scripts.scan.vulnerabilities import Hole, NotLooked
from scripts.setup.docker import docker
from scripts.setup.host import ROOT, SetupError

FOLDER = ROOT / "scan"
# Locked Python packages: of the platform's image, and of the runtime `python`.
LOCKED = ("requirements.txt", "images/python/packages.txt")
PREFIX = "sandbox-platform/"
# Images that tests and builds make. What a build installs is the administrator's choice; its packages are in its log.
OTHERS = (f"{PREFIX}build-", f"{PREFIX}fidelity-")
# What every installation has built, and what only some need.
STACK = ("platform", "postgres", "egress", "fetch")
ON_REQUEST = {
    "tls": "only for TLS (docs/tls.md)",
    "agent": "only for Kubernetes: make build KUBERNETES=yes",
    "builder": "only for Kubernetes: make build KUBERNETES=yes",
}
CLEAN, FOUND, NOT_LOOKED = 0, 1, 2


@dataclass
class Report:
    holes: list[Hole] = field(default_factory=list)
    not_looked: dict[str, str] = field(default_factory=dict)  # what -> why not
    not_built: dict[str, str] = field(default_factory=dict)  # image that not everybody needs -> what for
    lists: list[str] = field(default_factory=list)

    def ask(self, what: str, question: Callable[[], Iterable[Hole]]) -> None:
        try:
            self.holes += question()
        except NotLooked as error:
            self.not_looked[what] = str(error)

    @property
    def to_mend(self) -> list[Hole]:
        """Return the holes that an update closes."""
        return [hole for hole in self.holes if hole.fix]

    @property
    def status(self) -> int:
        if self.to_mend:
            return FOUND
        return NOT_LOOKED if self.not_looked else CLEAN

    def lines(self) -> Iterable[str]:
        for hole in sorted(self.to_mend, key=lambda hole: (hole.where, hole.package)):
            notes = f" ({hole.notes})" if hole.notes else ""
            yield f"TO MEND     {hole.where}: {hole.package}: {hole.id}{notes}, fixed by {hole.fix}"
        if waiting := len(self.holes) - len(self.to_mend):
            yield f"no fix yet  {waiting}, listed in scan/report.json"
        for what, why in self.not_looked.items():
            yield f"NOT LOOKED  {what}: {why}"
        for name, why in self.not_built.items():
            yield f"NOT BUILT   {name}, so nothing is known of it: {why}"
        counts = f"{len(self.to_mend)} to mend, {len(self.not_looked)} not looked at"
        yield f"{len(self.lists)} package lists in scan/, {counts}"


def images() -> list[str]:
    """Return the platform's images on this machine. Raises SetupError without Docker."""
    listed = docker(
        "image", "ls", "--filter", f"reference={PREFIX}*:latest", "--format", "{{.Repository}}:{{.Tag}}"
    )
    return sorted(name for name in set(listed.stdout.split()) if not name.startswith(OTHERS))


def scan(folder: Path) -> Report:
    report = Report()
    for locked in LOCKED:
        report.ask(locked, lambda locked=locked: vulnerabilities.of_requirements(ROOT / locked))  # type: ignore[misc]
    try:
        found = images()
    except SetupError as error:
        report.not_looked["images"] = str(error.args[0])
        return report
    note_missing(report, found)
    for image in found:
        _scan_image(report, image, folder)
    return report


def note_missing(report: Report, found: Iterable[str]) -> None:
    """Tell which of the platform's images are not on this machine. `found`: those that are."""
    here = {name.removeprefix(PREFIX).removesuffix(":latest") for name in found}
    if not here:
        report.not_looked["images"] = "none are built on this machine: make build"
        return
    report.not_looked |= {name: "not built on this machine: make build" for name in STACK if name not in here}
    report.not_built = {name: why for name, why in ON_REQUEST.items() if name not in here}


def _scan_image(report: Report, image: str, folder: Path) -> None:
    name = image.removeprefix(PREFIX).removesuffix(":latest")
    print(f"==> {name}", flush=True)
    try:
        held = inventory.of_image(image)
    except OSError as error:
        report.not_looked[name] = str(error)
        return
    path = folder / f"{name}.cdx.json"
    sbom.write(path, image, docker("image", "inspect", "--format", "{{.Id}}", image).stdout.strip(), held)
    report.lists.append(path.name)
    report.ask(f"{name}, gVisor", lambda: vulnerabilities.of_gvisor(name, held))
    with TemporaryDirectory() as private:
        report.ask(f"{name}, Debian packages", lambda: vulnerabilities.of_debian(name, held, Path(private)))


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    report = scan(FOLDER)
    text = json.dumps(
        {"to_mend": [*map(asdict, report.to_mend)], "no_fix_yet": [asdict(h) for h in report.holes if not h.fix],
         "not_looked": report.not_looked, "not_built": report.not_built, "lists": report.lists}, indent=1)  # fmt: skip
    (FOLDER / "report.json").write_text(text + "\n", encoding="utf-8")
    for line in report.lines():
        print(line)
    return report.status


if __name__ == "__main__":
    sys.exit(main())
