"""What `make backup` and `make restore` refuse before they touch anything."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.setup.backups import commands, encryption
from scripts.setup.host import SetupError


def test_restore_asks_which_backup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BACKUP", raising=False)
    with pytest.raises(SetupError, match="BACKUP is not set"):
        commands.restore()


def test_restore_refuses_a_bad_archive_before_it_looks_at_the_installation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bad.tar").write_bytes(b"x" * 2000)
    monkeypatch.setenv("BACKUP", str(tmp_path / "bad.tar"))
    monkeypatch.setattr(commands, "Stack", lambda: pytest.fail("it looked"))
    with pytest.raises(SetupError, match="is no backup"):
        commands.restore()


class Installation:
    def is_present(self) -> bool:
        return True


def test_nothing_is_replaced_without_a_yes(
    monkeypatch: pytest.MonkeyPatch, make_archive: Callable[..., Path]
) -> None:
    monkeypatch.setenv("BACKUP", str(make_archive()))
    monkeypatch.setattr(commands, "Stack", Installation)
    monkeypatch.setattr(commands.restoring, "restore", lambda *_: pytest.fail("it restored"))
    with pytest.raises(SetupError, match="nobody can be asked"):
        commands.restore()


@pytest.mark.parametrize(("typed", "goes_on"), [("restore", True), ("yes", False), ("", False)])
def test_only_the_word_confirms(monkeypatch: pytest.MonkeyPatch, typed: str, goes_on: bool) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda prompt: typed)
    if goes_on:
        commands.confirm(yes=False)
    else:
        with pytest.raises(SetupError, match="nothing was changed"):
            commands.confirm(yes=False)


def test_backup_goes_into_a_folder_of_the_owner_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(commands, "FOLDER", tmp_path / "backups")
    path = commands._target("", encrypted=True)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.name.startswith("backup-") and path.name.endswith(f".tar{encryption.SUFFIX}")


def test_backup_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "old.tar").touch()
    with pytest.raises(SetupError, match="exists already"):
        commands._target(str(tmp_path / "old.tar"), encrypted=False)


def test_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="nowhere does not exist"):
        commands._target(str(tmp_path / "nowhere" / "a.tar"), encrypted=False)
