"""The Helm chart of a release: one file, which is the same on each build."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from scripts.release import layers
from scripts.setup import helm
from scripts.setup.host import ROOT, must, step

CHART = ROOT / "deploy/helm/sandbox-platform"
MISSING = "the chart is NOT in this release: no Helm here (`make test-fast` provides one), then make release again"


def package(folder: Path, version: str, epoch: int) -> dict[str, str] | None:
    """Write the chart into the folder, and return name and hash of the file; None if this machine has no Helm."""
    with step(f"Helm chart {version}") as current:
        program = helm.program()
        if program is None:
            current.note(MISSING)
            return None
        with TemporaryDirectory(prefix="sandbox-platform-chart-") as name:
            must(
                [program, "package", CHART, "--version", version, "--app-version", version, "--destination", name],
                check="packaging the chart", fix="helm lint deploy/helm/sandbox-platform",
            )  # fmt: skip
            (made,) = Path(name).glob("*.tgz")
            written = folder / made.name
            normalise(made, written, epoch)
        digest = hashlib.sha256(written.read_bytes()).hexdigest()
        current.note(f"{written.name}, sha256:{digest}")
        return {"file": written.name, "sha256": digest}


def normalise(made: Path, target: Path, epoch: int) -> None:
    """Write a package of Helm's anew: without the times at which it and its files were made."""
    with made.open("rb") as source, TemporaryFile() as plain, target.open("wb") as out:
        layers.rewrite(source, plain, epoch)
        plain.seek(0)
        # No name and no time in the head of gzip, either.
        with gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as packed:
            packed.write(plain.read())
