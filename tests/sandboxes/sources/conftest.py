from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandboxes.sources.running_registry import Registry


@pytest.fixture(scope="session")
def started_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def store_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    return folder
