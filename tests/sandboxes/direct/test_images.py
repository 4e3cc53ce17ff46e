"""The store of images, with archives that Docker could have made. `mkfs.erofs` and `tar` are the real ones."""

import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from sandboxes.direct.images import Store
from sandboxes.engine import EngineError, ImageMissing

TIME = 1_600_000_000  # 2020-09-13
ID = "sha256:" + "a" * 64
Entry = tuple[str, bytes, str]  # name, type, content or target
CONFIG = {"Entrypoint": ["/runner"], "Env": ["A=b=c"], "Volumes": {"/data": {}}}


def exporter(*entries: Entry, config: dict[str, Any] | None = None) -> Callable[[IO[bytes]], dict[str, Any]]:
    def export(archive: IO[bytes]) -> dict[str, Any]:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, kind, text in entries:
                entry = tarfile.TarInfo(name)
                entry.type, entry.mode, entry.mtime = kind, 0o755, TIME
                if kind == tarfile.REGTYPE:
                    entry.size = len(text)
                elif kind == tarfile.SYMTYPE:
                    entry.linkname = text
                tar.addfile(entry, io.BytesIO(text.encode()))
        return CONFIG if config is None else config

    return export


def extracted(file: str, path: str) -> str:
    done = subprocess.run(["dump.erofs", f"--path={path}", file], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "images")


def test_image_is_described_by_dockers_configuration(store: Store) -> None:
    image = store.image(ID, exporter(("etc", tarfile.DIRTYPE, "")))
    assert (image.entrypoint, image.environment, image.volumes) == (("/runner",), {"A": "b=c"}, ("/data",))


def test_image_is_exported_once_for_all_processes(store: Store, tmp_path: Path) -> None:
    first = store.image(ID, exporter())

    def never(_archive: IO[bytes]) -> dict[str, Any]:
        raise AssertionError

    assert Store(tmp_path / "images").image(ID, never) == first


def test_image_has_the_folders_that_are_mounted_on(store: Store) -> None:
    image = store.image(ID, exporter())
    for place in ("/workspace", "/home/nobody", "/run/sandbox", "/run/egress", "/tmp", "/data", "/etc/hosts"):
        assert "NID" in extracted(image.file, place) or "Path" in extracted(image.file, place), place


def test_devices_of_the_image_are_left_out(store: Store) -> None:
    image = store.image(ID, exporter(("dev", tarfile.DIRTYPE, ""), ("dev/cuse", tarfile.CHRTYPE, "")))
    assert "Path : /dev/cuse" not in extracted(image.file, "/dev/cuse")


def test_links_of_the_image_lead_nowhere_out_of_it(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    entries = (("home", tarfile.SYMTYPE, str(outside)), ("run", tarfile.SYMTYPE, "../../../../../../tmp"))
    store.image(ID, exporter(*entries))
    assert list(outside.iterdir()) == []


def test_loop_of_links_is_an_error_that_names_the_place(store: Store) -> None:
    with pytest.raises(EngineError, match="tmp"):
        store.image(ID, exporter(("tmp", tarfile.SYMTYPE, "tmp")))


def test_what_failed_leaves_nothing(store: Store, tmp_path: Path) -> None:
    def broken(archive: IO[bytes]) -> dict[str, Any]:
        archive.write(b"no archive at all" * 1000)
        return CONFIG

    with pytest.raises(EngineError, match="tar"):
        store.image(ID, broken)
    assert {path.suffix for path in (tmp_path / "images").iterdir()} == {".lock"}
    assert store.image(ID, exporter()).entrypoint == ("/runner",)


def test_only_content_ids_name_images(store: Store) -> None:
    with pytest.raises(ImageMissing):
        store.image("../../etc/passwd", exporter())


def test_removed_image_is_gone(store: Store) -> None:
    store.image(ID, exporter())
    [name] = store.names()
    store.remove(name)
    assert (store.names(), store.size_bytes()) == ([], 0)


def test_files_keep_their_times(store: Store) -> None:
    image = store.image(ID, exporter(("module.py", tarfile.REGTYPE, "pass")))
    assert "2020-09-13" in extracted(image.file, "/module.py")
