"""The store of images, with archives that Docker could have made. `mkfs.erofs` and `tar` are the real ones."""

import fcntl
import io
import os
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from sandboxes.direct.images import UNUSED_S, Store
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
    return Store(tmp_path / "images", tmp_path / "checked")


def test_image_is_described_by_dockers_configuration(store: Store) -> None:
    image = store.image(ID, exporter(("etc", tarfile.DIRTYPE, "")))
    assert (image.entrypoint, image.environment, image.volumes) == (("/runner",), {"A": "b=c"}, ("/data",))


def test_image_is_exported_once_for_all_processes(store: Store, tmp_path: Path) -> None:
    first = store.image(ID, exporter())

    def never(_archive: IO[bytes]) -> dict[str, Any]:
        raise AssertionError

    assert Store(tmp_path / "images", tmp_path / "checked").image(ID, never) == first


def test_image_has_the_folders_that_are_mounted_on(store: Store) -> None:
    image = store.image(ID, exporter())
    for place in ("/workspace", "/home/nobody", "/run/sandbox", "/run/egress", "/tmp", "/data", "/etc/hosts"):
        assert "NID" in extracted(image.file, place) or "Path" in extracted(image.file, place), place


def test_mounts_are_listed_where_programs_look(store: Store) -> None:
    assert "NID" in extracted(store.image(ID, exporter()).file, "/etc/mtab")


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


def other(letter: str) -> str:
    return f"sha256:{letter * 64}"


def never(_archive: IO[bytes]) -> dict[str, Any]:
    raise AssertionError


def test_damaged_image_is_made_again(store: Store, tmp_path: Path) -> None:
    file = Path(store.image(ID, exporter(("etc", tarfile.DIRTYPE, ""))).file)
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.chmod(0o644)
    file.write_bytes(damaged)
    Store(tmp_path / "images", tmp_path / "after a restart").image(ID, exporter(("etc", tarfile.DIRTYPE, "")))
    assert file.read_bytes() != damaged
    Store(tmp_path / "images", tmp_path / "checked").image(ID, never)  # it is sound now


@pytest.mark.parametrize("text", ["", "{}", "no json"])
def test_image_without_a_readable_description_is_made_again(store: Store, tmp_path: Path, text: str) -> None:
    described = Path(store.image(ID, exporter()).file).with_suffix(".json")
    described.write_text(text)
    assert Store(tmp_path / "images", tmp_path / "checked").image(ID, exporter()).entrypoint == ("/runner",)


def test_image_that_vanished_is_made_again_by_a_process_that_knew_it(store: Store) -> None:
    file = Path(store.image(ID, exporter()).file)
    store.image(ID, never)
    file.unlink()
    assert store.image(ID, exporter()).file == str(file)
    assert file.exists()


def test_sweep_removes_what_nothing_needs_after_a_while(store: Store) -> None:
    for letter in "abc":
        store.image(other(letter), exporter())
    soon, later = time.time() + 60, time.time() + UNUSED_S + 60
    assert store.sweep([other("a")], 1 << 40, soon) == []
    assert store.sweep([other("a")], 1 << 40, later) == ["b" * 64, "c" * 64]
    assert store.names() == ["a" * 64]
    # A process that knew it makes it again.
    assert store.image(other("b"), exporter()).entrypoint == ("/runner",)


def test_sweep_keeps_to_the_bound_and_removes_the_least_recently_used_first(store: Store) -> None:
    for letter in "abc":
        file = Path(store.image(other(letter), exporter()).file)
        used = time.time() - ord(letter)  # c is the oldest
        os.utime(file, (used, used))
    assert store.sweep([other("a")], store.size_bytes() - 1) == ["c" * 64]
    assert store.sweep([other("a")], 0) == ["b" * 64]
    assert store.names() == ["a" * 64]


def test_sweep_removes_what_an_interrupted_process_left(store: Store, tmp_path: Path) -> None:
    left = tmp_path / "images" / "aaaa.x1y2"
    (left / "root").mkdir(parents=True)
    store.sweep([], 1 << 40)
    assert left.exists()  # it may still be at work
    os.utime(left, (1, 1))
    store.sweep([], 1 << 40)
    assert not left.exists()


def test_use_counts_as_use(store: Store) -> None:
    file = Path(store.image(ID, exporter()).file)
    os.utime(file, (1, 1))
    store.image(ID, never)
    assert file.stat().st_mtime > 1


def test_lock_that_was_removed_while_waited_for_is_taken_again(store: Store, tmp_path: Path) -> None:
    store.image(ID, exporter())
    lock = tmp_path / "images" / f"{'a' * 64}.lock"
    with open(lock) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = threading.Thread(
            target=Store(tmp_path / "images", tmp_path / "checked").image, args=(ID, exporter())
        )
        waiting.start()
        waiting.join(0.2)
        lock.unlink()
    waiting.join(60)
    assert not waiting.is_alive()
    assert lock.exists()


def test_image_is_read_to_check_it_once_for_all_processes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.image(ID, exporter())
    Store(tmp_path / "images", tmp_path / "checked").image(ID, never)
    monkeypatch.setattr("sandboxes.direct.images._sha256", None)
    Store(tmp_path / "images", tmp_path / "checked").image(ID, never)


def test_image_of_an_earlier_release_is_made_again(store: Store, tmp_path: Path) -> None:
    described = Path(store.image(ID, exporter()).file).with_suffix(".json")
    described.write_text(described.read_text().replace('"layout": 2', '"layout": 1'))
    made = []

    def export(archive: IO[bytes]) -> dict[str, Any]:
        made.append(1)
        return exporter()(archive)

    Store(tmp_path / "images", tmp_path / "checked").image(ID, export)
    assert made
