"""gVisor in the images of a release: the version that the commit names, whatever else this machine has."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sandboxes.gvisor import FILTERS
from scripts.setup import gvisor, gvisor_sources
from scripts.setup.host import step


def pinned() -> Path:
    """Return the runsc that scripts/setup/runsc/go.mod names; build it if it is not installed. Raises SetupError."""
    version = f"{gvisor_sources.pinned_version()}{FILTERS}"
    found = gvisor.FOLDER / version / "runsc"
    with step(f"gVisor {version}") as current:
        if found.is_file():
            current.note("present")
            return found
        with TemporaryDirectory(prefix="sandbox-platform-gvisor-") as folder:
            gvisor_sources.from_module(Path(folder))
            current.note("built from its Go module")
            return gvisor.install(Path(folder))


@contextmanager
def copied(runsc: Path, epoch: int) -> Iterator[Path]:
    """Yield a folder with nothing but a copy of runsc. It is as old as the release, not as its installation here."""
    with TemporaryDirectory(prefix="sandbox-platform-gvisor-") as name:
        copy = Path(name) / runsc.name
        shutil.copyfile(runsc, copy)
        copy.chmod(0o755)
        os.utime(copy, (epoch, epoch))
        yield Path(name)


def described(runsc: Path) -> dict[str, str]:
    with runsc.open("rb") as file:
        return {"version": runsc.parent.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
