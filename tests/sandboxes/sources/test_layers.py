"""Layers on top of each other, unpacked by the tar that the store calls."""

import gzip
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from sandboxes.sources.layers import Layer, merge
from sandboxes.sources.source import Damaged
from tests.sandboxes.sources.made import TIME, digest, file, folder, hard_link, layer, link

DEVICE = ("dev/cuse", tarfile.CHRTYPE, "")


def merged(*layers: bytes) -> bytes:
    archive = io.BytesIO()
    merge([Layer(digest(data), lambda data=data: io.BytesIO(gzip.compress(data))) for data in layers], archive)
    return archive.getvalue()


def unpacked(folder: Path, *layers: bytes) -> Path:
    subprocess.run(
        ["tar", "-x", "-p", "--delay-directory-restore", "-C", folder], input=merged(*layers), check=True
    )
    return folder


def entries(*layers: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(merged(*layers))) as tar:
        return {entry.name: entry for entry in tar}


def test_file_of_the_upper_layer_is_seen(tmp_path: Path) -> None:
    root = unpacked(tmp_path, layer(folder("etc"), file("etc/a", "old")), layer(file("etc/a", "new")))
    assert (root / "etc/a").read_text() == "new"


def test_whiteout_removes_a_file_of_a_lower_layer() -> None:
    assert set(entries(layer(file("a"), file("b")), layer(file(".wh.a")))) == {"b"}


def test_whiteout_removes_a_folder_with_all_in_it() -> None:
    assert set(entries(layer(folder("a"), file("a/b")), layer(file(".wh.a")))) == set()


def test_whiteout_leaves_a_file_of_its_own_layer() -> None:
    assert set(entries(layer(file("a")), layer(file("a", "new"), file(".wh.a")))) == {"a"}


@pytest.mark.parametrize("own_first", [True, False])
def test_opaque_folder_has_only_what_its_own_layer_has(own_first: bool) -> None:
    own, opaque = file("etc/own"), file("etc/.wh..wh..opq")
    upper = layer(folder("etc"), *((own, opaque) if own_first else (opaque, own)))
    lower = layer(folder("etc"), file("etc/low"), folder("etc/d"), file("etc/d/low"))
    assert set(entries(lower, upper)) == {"etc", "etc/own"}


def test_file_in_the_place_of_a_folder_hides_what_was_in_it() -> None:
    found = entries(layer(folder("a"), file("a/b")), layer(file("a")))
    assert set(found) == {"a"}
    assert found["a"].isreg()


def test_folder_keeps_its_content_when_an_upper_layer_names_it_again() -> None:
    assert set(entries(layer(folder("a"), file("a/b")), layer(folder("a")))) == {"a", "a/b"}


def test_name_that_leads_through_a_link_is_where_the_link_leads(tmp_path: Path) -> None:
    lower = layer(folder("usr"), folder("usr/lib"), link("lib", "usr/lib"))
    root = unpacked(tmp_path, lower, layer(file("lib/a", "text")))
    assert (root / "usr/lib/a").read_text() == "text"
    assert (root / "lib").is_symlink()


def test_links_of_the_image_lead_nowhere_out_of_it(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    lower = layer(link("absolute", str(outside)), link("up", "../outside"))
    unpacked(root, lower, layer(file("absolute/a"), file("up/b")))
    assert list(outside.iterdir()) == []
    assert (root / "outside/b").exists()


def test_name_that_leads_up_is_refused() -> None:
    with pytest.raises(Damaged, match="escape"):
        merged(layer(file("a/../../escape")))


def test_loop_of_links_is_refused() -> None:
    with pytest.raises(Damaged, match="does not lead to a folder"):
        merged(layer(link("a", "b"), link("b", "a"), file("a/c")))


def test_names_of_one_file_stay_names_of_one_file(tmp_path: Path) -> None:
    root = unpacked(tmp_path, layer(file("a", "text"), hard_link("b", "a")))
    assert (root / "a").samefile(root / "b")


def test_other_name_of_a_removed_file_keeps_the_content(tmp_path: Path) -> None:
    root = unpacked(tmp_path, layer(file("a", "text"), hard_link("b", "a")), layer(file(".wh.a")))
    assert [path.name for path in root.iterdir()] == ["b"]
    assert (root / "b").read_text() == "text"


def test_other_name_of_a_replaced_file_keeps_the_old_content(tmp_path: Path) -> None:
    root = unpacked(tmp_path, layer(file("a", "old"), hard_link("b", "a")), layer(file("a", "new")))
    assert ((root / "a").read_text(), (root / "b").read_text()) == ("new", "old")


def test_other_name_of_nothing_is_refused() -> None:
    with pytest.raises(Damaged, match="other name"):
        merged(layer(hard_link("b", "a")))


def test_devices_are_left_out_wherever_they_are() -> None:
    assert set(entries(layer(DEVICE, ("srv/disk", tarfile.BLKTYPE, "")))) == {"dev", "srv"}


def test_folders_keep_their_modes_and_times(tmp_path: Path) -> None:
    root = unpacked(tmp_path, layer(folder("a"), file("a/b")), layer(file("a/c")))
    assert os.stat(root / "a").st_mtime == TIME


def test_names_that_are_not_utf8_stay_as_they_are(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo(name))
    root = unpacked(tmp_path, data.getvalue())
    assert os.listdir(os.fsencode(root)) == [b"caf\xe9"]


def test_long_names_stay_as_they_are(tmp_path: Path) -> None:
    name = "/".join(["a" * 60] * 5)
    assert (unpacked(tmp_path, layer(file(name, "text"))) / name).read_text() == "text"


def test_layer_with_another_content_than_its_digest_is_refused() -> None:
    with pytest.raises(Damaged, match="another content"):
        merge([Layer(digest(b"other"), lambda: io.BytesIO(layer(file("a"))))], io.BytesIO())


def test_layer_that_is_not_whole_is_refused() -> None:
    data = layer(file("a", "text" * 10_000))
    with pytest.raises(Damaged):
        merge([Layer(digest(data), lambda: io.BytesIO(gzip.compress(data)[:-20]))], io.BytesIO())


def test_layer_packed_with_zstd_is_refused_with_a_remedy() -> None:
    with pytest.raises(Damaged, match="gzip"):
        merge([Layer(digest(b""), lambda: io.BytesIO(b"\x28\xb5\x2f\xfd more"))], io.BytesIO())


def test_layer_that_is_not_packed_is_read() -> None:
    data = layer(file("a", "text"))
    archive = io.BytesIO()
    merge([Layer(digest(data), lambda: io.BytesIO(data))], archive)
    assert b"text" in archive.getvalue()
