"""Foreign file systems: nothing of this machine is read, written or loaded for one."""

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from builds.archives import packed, unpacked
from builds.buildah import files, rooted
from sandboxes.engine import EngineError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="changes its root")

LIMIT = 1 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/hosts").write_text("of the image\n")
    return root


def content(root: Path, path: str) -> dict[str, bytes]:
    return unpacked(files.read(root, path), os.path.dirname(path), LIMIT)


def test_file_is_read(root: Path) -> None:
    assert content(root, "/etc/hosts") == {"/etc/hosts": b"of the image\n"}


def test_folder_is_read(root: Path) -> None:
    (root / "etc/apt/keys").mkdir(parents=True)
    (root / "etc/apt/keys/a").write_text("a")
    assert content(root, "/etc/apt") == {"/etc/apt/keys/a": b"a"}


def test_what_is_not_there_is_nothing(root: Path) -> None:
    assert list(files.read(root, "/etc/none")) == []


def test_files_of_the_machine_are_not_read_through_links(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the machine")
    (root / "out").symlink_to(tmp_path)
    (root / "up").symlink_to("../" * 20 + str(tmp_path)[1:])
    for path in ("/out/secret", "/up/secret", f"/../../../..{tmp_path}/secret"):
        assert list(files.read(root, path)) == []


def test_files_of_the_machine_are_not_written_through_links(root: Path, tmp_path: Path) -> None:
    (root / "run").symlink_to(tmp_path)
    os.makedirs(f"{root}{tmp_path}")
    files.write(root, "/", [packed("/run/build", {"step": "x"})])
    assert not (tmp_path / "build").exists()
    assert Path(f"{root}{tmp_path}/build/step").read_text() == "x"


def test_archive_keeps_owners_and_modes(root: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("bin/tool")
        entry.mode, entry.uid, entry.gid, entry.uname = 0o4755, 1234, 55, "root"
        tar.addfile(entry)
    files.write(root, "/usr", [buffer.getvalue()])
    found = (root / "usr/bin/tool").stat()
    assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o4755, 1234, 55)


def test_nothing_is_loaded_from_the_image(root: Path) -> None:
    """A module of the image, found by a name and in a folder that this machine's Python looks for."""
    program = "import sys, runpy; run = runpy.run_path(sys.argv[1]); run['enter'](sys.argv[2])\nimport colorsys"
    for folder in {*sys.path} - {""}:
        planted = Path(f"{root}{folder}")
        planted.mkdir(parents=True, exist_ok=True)
        (planted / "colorsys.py").write_text("open('/loaded', 'w').close()")
    done = subprocess.run(
        [sys.executable, "-c", program, rooted.__file__, root], capture_output=True, text=True, check=False
    )
    assert "ModuleNotFoundError" in done.stderr
    assert not (root / "loaded").exists()


def test_names_of_users_are_not_asked_for(root: Path) -> None:
    """The image's own libraries would answer."""
    (root / "etc/passwd").write_text("planted:x:1234:1234::/:/bin/sh\n")
    os.chown(root / "etc/hosts", 1234, 1234)
    with tarfile.open(fileobj=io.BytesIO(b"".join(files.read(root, "/etc/hosts")))) as tar:
        (entry,) = tar.getmembers()
    assert (entry.uname, entry.gname, entry.uid) == ("", "", 1234)


def test_archive_that_cannot_be_unpacked_says_why(root: Path) -> None:
    (root / "run").write_text("no folder")
    with pytest.raises(EngineError, match="run"):
        files.write(root, "/run/build", [packed("/", {"x": "y"})])


def test_no_archive_is_refused(root: Path) -> None:
    with pytest.raises(EngineError, match="ReadError"):
        files.write(root, "/run", [b"x" * 10_000])


def test_reader_that_has_had_enough_leaves_no_process(root: Path) -> None:
    (root / "large").write_bytes(bytes(64 << 20))
    chunks = files.read(root, "/large")
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    left = subprocess.run(["pgrep", "-f", f"rooted.py {root}"], capture_output=True, text=True, check=False)
    assert left.stdout == ""


def test_writer_that_fails_is_heard_and_leaves_no_process(root: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x"
        raise ValueError("a fetched file contains a secret of a mirror")

    with pytest.raises(ValueError, match="secret of a mirror"):
        files.write(root, "/", chunks())
    left = subprocess.run(["pgrep", "-f", f"rooted.py {root}"], capture_output=True, text=True, check=False)
    assert left.stdout == ""
