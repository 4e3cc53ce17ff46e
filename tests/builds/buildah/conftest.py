import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings as here
from pytest_django import Settings

from builds.buildah.engine import BuildahEngine
from tests.builds.buildah.registry import Guarded, guarded_registry

IMAGES = ("sandbox-platform/runtime-python:latest", "sandbox-platform/fetch:latest")


@pytest.fixture(scope="session")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A registry that has the images of a runtime and of the fetching container."""
    with guarded_registry(tmp_path_factory.mktemp("registry")) as there:
        for image in IMAGES:
            there.push(image)
        yield there


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A short path: gVisor has sockets below it."""
    with tempfile.TemporaryDirectory(prefix="builder-") as folder:
        yield Path(folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(here, "SANDBOX_BUILD_DIR", Path(folder) / "builds")
            engine = BuildahEngine()
        engine.tidy()
        unmount_below(Path(folder))


def unmount_below(folder: Path) -> None:
    """gVisor and buildah keep mounts between their uses."""
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for path in sorted(mounted, reverse=True):
        if path.startswith(f"{folder}/"):
            subprocess.run(["umount", path], check=True)


@pytest.fixture
def engine(there: Guarded, folder: Path, settings: Settings) -> Iterator[BuildahEngine]:
    settings.SANDBOX_BUILDER, settings.SANDBOX_IMAGE_SOURCE = "buildah", "registry"
    settings.SANDBOX_IMAGE_REGISTRY, settings.SANDBOX_IMAGE_REGISTRY_AUTH_FILE = there.name, str(there.auth)
    settings.SANDBOX_IMAGE_REGISTRY_CA_FILE, settings.SANDBOX_IMAGE_REGISTRY_PLAIN_HTTP = "", True
    settings.SANDBOX_BUILD_DIR, settings.SANDBOX_RUN_DIR = folder / "builds", folder / "run"
    engine = BuildahEngine()
    yield engine
    # Images stay for the next test, so that each does not pull them again.
    for container in engine._buildah.containers():
        engine.remove(container)
