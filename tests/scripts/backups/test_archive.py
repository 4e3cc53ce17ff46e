"""What is no whole backup of this platform is refused, before anything is changed."""

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.setup.backups import archive, restoring, taking
from scripts.setup.host import SetupError
from tests.scripts.backups.conftest import MANIFEST


def entries(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]


def rewrite(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def change(path: Path, **values: object) -> None:
    files = entries(path)
    rewrite(path, files | {archive.MANIFEST: json.dumps(json.loads(files[archive.MANIFEST]) | values).encode()})


def refusal(path: Path) -> str:
    with pytest.raises(SetupError) as caught, restoring.opened(path):
        pytest.fail("it was opened")
    return str(caught.value)


def test_a_whole_archive_gives_its_manifest_and_files(make_archive: Callable[..., Path]) -> None:
    with restoring.opened(make_archive(executions=7)) as (manifest, folder):
        assert manifest.executions == 7
        assert (folder / taking.ENV).read_text().startswith("env of the backup")
        assert (folder / taking.ENV).stat().st_mode & 0o777 == 0o600


def test_only_its_owner_reads_an_archive(make_archive: Callable[..., Path]) -> None:
    assert make_archive().stat().st_mode & 0o777 == 0o600


def test_what_was_unpacked_is_gone_afterwards(make_archive: Callable[..., Path]) -> None:
    path = make_archive()
    with restoring.opened(path) as (_, folder):
        pass
    assert not folder.exists()
    assert {each.name for each in path.parent.iterdir()} == {"backup.tar", "content"}


def test_a_changed_file_is_found(make_archive: Callable[..., Path]) -> None:
    path = make_archive()
    content = path.read_bytes()
    at = content.index(b"database.dump of the backup")
    path.write_bytes(content[:at] + b"D" + content[at + 1 :])
    assert "database.dump is not what the manifest says" in refusal(path)


@pytest.mark.parametrize("left", [0, 300, 2000, 4600])
def test_a_cut_archive_is_refused(make_archive: Callable[..., Path], left: int) -> None:
    path = make_archive()
    path.write_bytes(path.read_bytes()[:left])
    assert "damaged" in refusal(path) or "is no backup" in refusal(path)


def test_a_missing_file_is_named(make_archive: Callable[..., Path]) -> None:
    path = make_archive()
    files = entries(path)
    del files[taking.ENV]
    rewrite(path, files)
    assert "env is missing" in refusal(path)


def test_a_file_that_leads_out_of_the_archive_is_refused(make_archive: Callable[..., Path]) -> None:
    path = make_archive()
    rewrite(path, entries(path) | {"../outside": b"x"})
    assert "'../outside' does not belong to it" in refusal(path)
    assert not (path.parent / "outside").exists()


def test_another_tar_file_is_refused(tmp_path: Path) -> None:
    rewrite(tmp_path / "other.tar", {"notes.txt": b"hello"})
    assert "is no backup of Sandbox Platform" in refusal(tmp_path / "other.tar")


def test_a_backup_of_something_else_is_refused(make_archive: Callable[..., Path]) -> None:
    path = make_archive()
    change(path, kind="another backup")
    assert "is a backup of something else" in refusal(path)


def test_a_newer_format_is_refused_with_its_version(make_archive: Callable[..., Path]) -> None:
    path = make_archive(platform="9.1.0")
    change(path, format=archive.FORMAT + 1, more="unknown")
    assert "check out version 9.1.0" in refusal(path)


def test_a_newer_version_is_refused(make_archive: Callable[..., Path]) -> None:
    assert "is of version 999.0.0; here is" in refusal(make_archive(platform="999.0.0", commit="abc123"))


def test_a_database_with_unknown_migrations_is_refused(make_archive: Callable[..., Path]) -> None:
    newer = taking.known_migrations()["clients"] | {"9999_future"}
    said = refusal(make_archive(migrations={"clients": sorted(newer)}, commit="abc123def456789"))
    assert "clients has 9999_future, unknown here" in said
    assert "check out abc123def456, then" in said


def test_a_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "backup.tar")


def test_a_failed_backup_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "a-folder").mkdir()
    with pytest.raises(OSError):
        archive.write(tmp_path / "content", MANIFEST, tmp_path / "other.tar")
    assert not list(tmp_path.glob("other*"))


def test_migrations_that_a_backup_lacks_make_it_older() -> None:
    assert not restoring.is_older(MANIFEST)
    without = {app: names for app, names in MANIFEST.migrations.items() if app != "usage"}
    assert restoring.is_older(replace(MANIFEST, migrations=without))
