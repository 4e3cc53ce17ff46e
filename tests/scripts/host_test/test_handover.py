"""What the guest is given."""

from pathlib import Path

import pytest

from scripts.host_test import handover
from scripts.setup import images
from scripts.setup.host import SetupError


@pytest.fixture
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of each core runtime's image, whose content ids are made up here."""
    folder = tmp_path / "images"
    folder.mkdir()
    monkeypatch.setattr(handover, "UNPACKED", folder)
    monkeypatch.setattr(handover, "content_id", lambda tag: f"sha256:{tag.rpartition('-')[2]}")
    for image in images.runtime_images("core"):
        name = handover.content_id(image.tag).removeprefix("sha256:")
        (folder / f"{name}.erofs").write_text(f"files of {name}")
        (folder / f"{name}.json").write_text("{}")
    (folder / "of-a-test.erofs").write_text("not a runtime of this installation")
    return folder


def test_unpacked_images_of_the_core_runtimes_are_given(unpacked: Path, tmp_path: Path):
    handover.into(tmp_path / "guest", ["unpacked"])
    given = {path.name for path in (tmp_path / "guest").rglob("*") if path.is_file()}
    assert given == {path.name for path in unpacked.iterdir()} - {"of-a-test.erofs"}


def test_an_image_that_is_not_unpacked_is_named(unpacked: Path, tmp_path: Path):
    next(unpacked.glob("*.json")).unlink()
    with pytest.raises(SetupError, match="does not exist"):
        handover.into(tmp_path / "guest", ["unpacked"])
