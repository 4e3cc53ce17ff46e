"""An image's digest names its layers and its configuration, and neither when nor how it was built."""

import hashlib
import json
from pathlib import Path

import pytest

from scripts.release.archive import Layout, Normal, from_archive
from tests.scripts.release.making import entry, layer, saved

EPOCH = 1_800_000_000
CONFIG = {
    "architecture": "amd64",
    "os": "linux",
    "created": "2026-11-29T12:00:00.5Z",
    "container": "abc",
    "docker_version": "26",
    "config": {"Env": ["PATH=/usr/bin"], "Cmd": ["sh"]},
    "history": [{"created": "2026-11-29T12:00:00.5Z", "created_by": "RUN x"}],
    "rootfs": {"type": "layers", "diff_ids": ["sha256:0"]},
}
LAYERS = [
    layer([entry("var/lib/dpkg/status", b"Package: a\n"), entry("a", b"1")]),
    layer([entry("b", b"2", mtime=EPOCH + 1)]),
]


def image(folder: Path, layers: list[bytes] = LAYERS, **config: object) -> tuple[Normal, Layout]:
    folder.mkdir()
    layout = Layout(folder)
    return from_archive(saved(folder / "saved.tar", layers, **{**CONFIG, **config}), layout, EPOCH), layout


def blob(layout: Layout, digest: str) -> dict[str, object]:
    data = layout.blob(digest).read_bytes()
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" == digest
    found = json.loads(data)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    "other",
    [
        {"created": "2030-01-01T00:00:00Z", "container": "def", "docker_version": "29"},
        {"history": [{"created": "2030-01-01T00:00:00Z", "created_by": "RUN x"}]},
        {"moby.buildkit.buildinfo.v1": "e30="},
    ],
)
def test_when_and_by_what_it_was_built_is_not_told(tmp_path: Path, other: dict[str, object]) -> None:
    assert image(tmp_path / "a", **other)[0].digest == image(tmp_path / "b")[0].digest


@pytest.mark.parametrize(
    "other",
    [
        {"config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]}},
        {"architecture": "arm64"},
        {"layers": LAYERS[::-1]},
        {"layers": [LAYERS[0], layer([entry("b", b"3", mtime=EPOCH + 1)])]},
    ],
)
def test_every_change_of_an_image_is_another_digest(tmp_path: Path, other: dict[str, object]) -> None:
    assert image(tmp_path / "a", **other)[0].digest != image(tmp_path / "b")[0].digest  # type: ignore[arg-type]


def test_digests_lead_from_the_manifest_to_the_layers(tmp_path: Path) -> None:
    found, layout = image(tmp_path / "a")
    manifest = blob(layout, found.digest)
    config = blob(layout, found.id)
    layers = [each.digest for each in found.layers]
    assert manifest["config"]["digest"] == found.id  # type: ignore[index]
    assert [each["digest"] for each in manifest["layers"]] == layers  # type: ignore[attr-defined]
    assert config["rootfs"] == {"type": "layers", "diff_ids": layers}
    assert config["created"] == "2027-01-15T08:00:00Z" == config["history"][0]["created"]  # type: ignore[index]
    assert config["config"] == CONFIG["config"]
    for digest in layers:
        assert f"sha256:{hashlib.sha256(layout.blob(digest).read_bytes()).hexdigest()}" == digest


def test_packages_are_those_of_the_uppermost_layer_that_lists_them(tmp_path: Path) -> None:
    upper = layer([entry("var/lib/dpkg/status", b"Package: b\n")])
    assert image(tmp_path / "a")[0].status == b"Package: a\n"
    assert image(tmp_path / "b", [*LAYERS, upper])[0].status == b"Package: b\n"


def test_index_names_the_images_for_oci_and_for_docker(tmp_path: Path) -> None:
    found, layout = image(tmp_path / "a")
    layout.write_index({"x:2": found, "a:2": found})
    index = json.loads((layout.folder / "index.json").read_text())
    names = [each["annotations"]["org.opencontainers.image.ref.name"] for each in index["manifests"]]
    assert names == ["a:2", "x:2"]
    assert {each["digest"] for each in index["manifests"]} == {found.digest}
    listed = json.loads((layout.folder / "manifest.json").read_text())
    assert [each["RepoTags"] for each in listed] == [["a:2"], ["x:2"]]
    for name in (listed[0]["Config"], *listed[0]["Layers"]):
        assert (layout.folder / name).is_file()
    assert json.loads((layout.folder / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
