"""Programs of Debian's packages that tests need, without installing: some packages would start a service."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

from scripts.setup import apt
from scripts.setup.host import must


def unpack(package: str, into: Path, programs: Collection[str]) -> None:
    """Unpack the programs of a package into a folder, and run none of its scripts."""
    apt.update()
    fix = f"apt-get download {package}"
    with tempfile.TemporaryDirectory(prefix="sandbox-platform-") as name:
        folder = Path(name)
        must(
            ["apt-get", "download", "-q", package],
            cwd=folder,
            check=f"the package {package}",
            fix=fix,
            timeout=300,
        )
        (archive,) = folder.glob("*.deb")
        must(["dpkg-deb", "--extract", archive, folder / "files"], check=f"the package {package}", fix=fix)
        into.mkdir(parents=True, exist_ok=True)
        for path in (folder / "files/usr/bin").iterdir():
            if path.name in programs:
                shutil.copy2(path, into / path.name)
