from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scripts.setup.backups import archive, taking
from scripts.setup.backups.archive import Manifest

MANIFEST = Manifest(
    created="2026-11-01T10:00:00+00:00", platform=taking.version(), commit="", node="node-1", postgres=17,
    executions=3, roles=["sandbox_web"],
    migrations={app: sorted(names) for app, names in taking.known_migrations().items()},
)  # fmt: skip


@pytest.fixture
def make_archive(tmp_path: Path) -> Callable[..., Path]:
    """A small archive whose manifest says this."""

    def make(**values: Any) -> Path:
        folder = tmp_path / "content"
        folder.mkdir()
        for name in (taking.DUMP, taking.ENV, taking.RUNTIMES):
            (folder / name).write_text(f"{name} of the backup\n" * 50)
        archive.write(folder, replace(MANIFEST, **values), tmp_path / "backup.tar")
        return tmp_path / "backup.tar"

    return make
