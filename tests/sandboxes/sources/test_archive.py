"""Images from OCI archives in a folder."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from sandboxes.engine import ImageMissing
from sandboxes.sources.archive import ArchiveSource
from sandboxes.sources.source import Damaged, SourceUnavailable
from tests.sandboxes.sources.made import CONFIG, Made, digest, file, folder, image, layer

NAME = "sandbox-platform/runtime-python:latest"
BASE, ABOVE = layer(folder("etc"), file("etc/a", "old"), file("etc/b")), layer(file("etc/a", "new"))


@pytest.fixture
def made(tmp_path: Path) -> Made:
    one = image(BASE, ABOVE)
    one.write(tmp_path / "runtime-python.tar")
    return one


@pytest.fixture
def source(tmp_path: Path) -> ArchiveSource:
    return ArchiveSource(tmp_path)


def exported(source: ArchiveSource, image_id: str) -> dict[str, bytes]:
    archive = io.BytesIO()
    source.export(image_id, archive)
    archive.seek(0)
    with tarfile.open(fileobj=archive) as tar:
        return {one.name: content.read() for one in tar if (content := tar.extractfile(one))}


def test_image_is_found_by_the_last_part_of_its_name(source: ArchiveSource, made: Made) -> None:
    assert source.image_id(NAME) == source.image_id("registry.example/x/runtime-python:3") == made.image_id


def test_content_id_is_found_among_the_archives(source: ArchiveSource, made: Made, tmp_path: Path) -> None:
    (tmp_path / "broken.tar").write_bytes(b"nothing")
    assert source.image_id(made.image_id) == made.image_id


def test_image_is_exported_with_its_layers_on_top_of_each_other(source: ArchiveSource, made: Made) -> None:
    assert exported(source, made.image_id) == {"etc/a": b"new", "etc/b": b""}


def test_configuration_is_dockers(source: ArchiveSource, made: Made) -> None:
    assert source.export(made.image_id, io.BytesIO()) == CONFIG


def test_id_is_that_of_the_configuration_as_in_docker(source: ArchiveSource, made: Made) -> None:
    assert made.image_id == digest(made.blobs[made.image_id])
    assert source.image_id(NAME) == made.image_id


def test_archive_that_is_replaced_is_read_anew(source: ArchiveSource, made: Made, tmp_path: Path) -> None:
    assert source.image_id(NAME) == made.image_id
    newer = image(layer(file("newer")))
    newer.write(tmp_path / "new.tar")
    (tmp_path / "new.tar").rename(tmp_path / "runtime-python.tar")
    assert source.image_id(NAME) == newer.image_id


def test_archive_with_an_index_of_architectures(source: ArchiveSource, tmp_path: Path) -> None:
    made = image(BASE)
    made.write(tmp_path / "runtime-python.tar", architecture="riscv64")
    with pytest.raises(ImageMissing, match="no image for linux"):
        source.image_id(NAME)


def test_archive_with_dots_before_its_names(source: ArchiveSource, tmp_path: Path) -> None:
    made = image(BASE)
    made.write(tmp_path / "runtime-python.tar", prefix="./")
    assert source.image_id(NAME) == made.image_id


def test_archive_that_skopeo_wrote(source: ArchiveSource, made: Made, tmp_path: Path) -> None:
    copied = tmp_path / "runtime-go.tar"
    subprocess.run(
        ["skopeo", "copy", "-q", f"oci-archive:{tmp_path / 'runtime-python.tar'}", f"oci-archive:{copied}"],
        check=True,
    )
    assert exported(source, source.image_id("runtime-go")) == {"etc/a": b"new", "etc/b": b""}


def test_missing_archive_is_a_missing_image_that_names_the_file(source: ArchiveSource, tmp_path: Path) -> None:
    with pytest.raises(ImageMissing, match=f"{tmp_path}/runtime-python.tar"):
        source.image_id(NAME)


def test_content_id_of_no_archive_is_a_missing_image(source: ArchiveSource, made: Made) -> None:
    with pytest.raises(ImageMissing):
        source.image_id(f"sha256:{'0' * 64}")


def test_missing_folder_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="SANDBOX_IMAGE_ARCHIVES"):
        ArchiveSource(tmp_path / "none").image_id(NAME)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a b", "/etc/x"])
def test_name_that_is_none_of_an_image_is_refused(source: ArchiveSource, name: str) -> None:
    with pytest.raises(ImageMissing):
        source.image_id(name)


@pytest.mark.parametrize("text", [b"", b"no archive" * 1000])
def test_what_is_no_archive_is_named_with_a_remedy(source: ArchiveSource, tmp_path: Path, text: bytes) -> None:
    (tmp_path / "runtime-python.tar").write_bytes(text)
    with pytest.raises(Damaged, match="skopeo copy"):
        source.image_id(NAME)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_archive_that_is_not_whole_is_damaged(source: ArchiveSource, tmp_path: Path, share: float) -> None:
    path = tmp_path / "runtime-python.tar"
    image(layer(file("large", os.urandom(100_000).hex()))).write(path)
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(Damaged):
        source.export(source.image_id(NAME), io.BytesIO())


def test_layer_with_another_content_is_damaged(source: ArchiveSource, tmp_path: Path) -> None:
    made, other = image(BASE), image(layer(file("other")))
    packed = next(name for name in made.blobs if name not in (made.image_id, digest(made.manifest)))
    made.blobs[packed] = next(iter(other.blobs.values()))
    made.write(tmp_path / "runtime-python.tar")
    with pytest.raises(Damaged, match="another content"):
        source.export(made.image_id, io.BytesIO())


def test_configuration_with_another_content_is_damaged(source: ArchiveSource, tmp_path: Path) -> None:
    made = image(BASE)
    made.blobs[made.image_id] = made.blobs[made.image_id].replace(b"/runner", b"/bin/sh")
    made.write(tmp_path / "runtime-python.tar")
    with pytest.raises(Damaged, match="another content"):
        source.export(made.image_id, io.BytesIO())


def test_manifest_with_another_content_is_damaged(source: ArchiveSource, tmp_path: Path) -> None:
    made = image(BASE)
    made.blobs[digest(made.manifest)] = made.manifest + b" "
    made.write(tmp_path / "runtime-python.tar")
    with pytest.raises(Damaged, match="another content"):
        source.image_id(NAME)


def test_image_of_another_machine_is_refused(source: ArchiveSource, tmp_path: Path) -> None:
    made = image(BASE, architecture="riscv64")
    made.write(tmp_path / "runtime-python.tar")
    with pytest.raises(ImageMissing, match="riscv64"):
        source.export(made.image_id, io.BytesIO())
