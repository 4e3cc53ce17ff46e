"""Build the browser files from npm packages, for an admin run from source. The image builds its own (Dockerfile)."""

from __future__ import annotations

import shutil

from scripts.setup import apt, images
from scripts.setup.host import ROOT, must, parse_version, run, step

FOLDER = ROOT / "console" / "frontend"
TARGET = ROOT / "console" / "static" / "vendor"
STAMP = TARGET / ".content"
NODE_FLOOR = (18,)


def ensure() -> None:
    """Build the browser files if their sources changed. Raises SetupError."""
    with step("browser files from npm packages") as current:
        wanted = images.fingerprint([FOLDER], "", FOLDER)
        if STAMP.is_file() and STAMP.read_text(encoding="utf-8") == wanted:
            current.note("up to date")
            return
        if missing := missing_packages():
            apt.install(missing)
            current.note(f"installed {' and '.join(missing)}")
        fix = "check npm's configuration (npm config list), then make frontend"
        must(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=FOLDER, timeout=600, check="npm packages of console/frontend", fix=fix,
        )  # fmt: skip
        must(["node", "build.mjs", TARGET], cwd=FOLDER, timeout=120, check="bundling console/frontend", fix=fix)
        STAMP.write_text(wanted, encoding="utf-8")
        current.note("built")


def missing_packages() -> list[str]:
    """Return the Debian packages to install. A Node.js from another source is used if it is new enough and has npm."""
    if parse_version(run(["node", "--version"]).stdout) >= NODE_FLOOR:
        return [] if shutil.which("npm") else ["npm"]
    return ["nodejs", "npm"]
