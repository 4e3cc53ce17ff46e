"""Helm, which the tests of the chart render it with: what is here, or built from its Go module."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts.setup.gvisor_sources import go
from scripts.setup.host import STATE, Command, SetupError, must, parse_version, run, step

VERSION = "4.3.1"
PACKAGE = f"helm.sh/helm/v{VERSION.partition('.')[0]}/cmd/helm@v{VERSION}"
# Beside the versions of gVisor, so that another clone on this machine need not build it again.
FOLDER = Path("/usr/local/lib/sandbox-platform/helm")
# The chart's schema and the options of the tests need it.
FLOOR = (3, 18)
BUILD_S = 1500


def program() -> Path | None:
    """Return a Helm that the tests can use; None if there is none."""
    ours = FOLDER / VERSION / "helm"
    if ours.is_file():
        return ours
    found = shutil.which("helm")
    return Path(found) if found and version_of(found) >= FLOOR else None


def version_of(path: str) -> tuple[int, ...]:
    found = re.search(r"v(\d+\.\d+\.\d+)", run([path, "version", "--short"]).stdout)
    return parse_version(found[1]) if found else ()


def ensure() -> None:
    """Provide Helm. Without one, and without a way to build it, the tests of the chart are skipped, but not in CI."""
    with step("Helm for the tests") as current:
        if found := program():
            current.note(f"found {found}")
            return
        try:
            build()
        except SetupError as error:
            if os.environ.get("CI"):
                raise
            current.note(f"the tests of the chart will be skipped: {error.check} failed")
            return
        current.note(f"built {VERSION} from its Go module")


def build() -> None:
    """Build Helm's Go module: some minutes on two cores. Go checks its hash by the checksum database."""
    caches = STATE / "go-helm"
    with TemporaryDirectory(prefix="sandbox-platform-helm-") as name:
        must(
            ["nice", "-n", "10", go(), "install", "-trimpath", "-ldflags", "-s -w", PACKAGE],
            check=f"building Helm {VERSION} from its Go module",
            fix="make the Go module proxy reachable (`go env GOPROXY`), or install Helm, then run `make test`",
            env={
                "CGO_ENABLED": "0",
                "GOTOOLCHAIN": "auto",
                "GOPATH": str(caches),
                "GOMODCACHE": str(caches / "mod"),
                "GOCACHE": str(caches / "build"),
                "GOBIN": name,
            },
            timeout=BUILD_S,
        )
        install(Path(name) / "helm")
    run(["chmod", "-R", "u+w", caches])  # go makes its modules read-only
    shutil.rmtree(caches)


def install(built: Path) -> None:
    target = FOLDER / VERSION
    fix = f"install Helm {VERSION} as {target}/helm by hand, then run `make test`"
    lines: tuple[Command, ...] = (
        ["mkdir", "-p", target],
        ["install", "-m", "0755", built, target / ".helm.new"],
        ["mv", target / ".helm.new", target / "helm"],
    )
    for line in lines:
        must(line, root=True, check=f"installing Helm {VERSION}", fix=fix)
