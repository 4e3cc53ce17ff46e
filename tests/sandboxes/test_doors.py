"""The folders of doors, whose paths the host makes and the gateway cannot change."""

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pytest_django import Settings

from sandboxes import doors
from sandboxes.engine import EngineError

SERVICE = 10002

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="changes owners")


@pytest.fixture(autouse=True)
def top(settings: Settings) -> Iterator[Path]:
    """As scripts/setup/docker.py makes it; only root gets into pytest's own folders."""
    with tempfile.TemporaryDirectory() as above:
        Path(above).chmod(0o755)
        folder = Path(above) / "doors"
        folder.mkdir()
        os.chown(folder, 10001, SERVICE)
        folder.chmod(0o2750)
        settings.SANDBOX_EGRESS_DIR = folder
        yield folder


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Questions to a gateway that has done what it was asked."""
    asked: list[object] = []

    def ask(question: dict[str, object]) -> dict[str, object]:
        asked.append(question)
        # What a gateway that has been taken over may say.
        return {"opened": True, "door": "/etc"}

    monkeypatch.setattr(doors, "ask", ask)
    return asked


@contextmanager
def as_user(number: int) -> Iterator[None]:
    """Be another user, as the services of docker-compose.yml are."""
    os.setegid(number)
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_door_is_where_the_host_says_whatever_the_gateway_answers(opened: list[object]) -> None:
    doors.provide()
    assert doors.make(7) == str(doors.root() / "7")
    assert opened == [{"open": 7}]


def test_a_sandbox_of_a_probe_gets_a_folder_and_asks_nobody(opened: list[object]) -> None:
    doors.provide()
    assert (Path(doors.make(None)).is_dir(), opened) == (True, [])


def test_gateway_can_make_its_sockets_and_replace_no_folder(opened: list[object]) -> None:
    doors.provide()
    door = Path(doors.make(7))
    with as_user(SERVICE):
        (door / doors.SOCKET).touch()
        (doors.root() / doors.CONTROL).touch()
        for folder in (door, doors.root() / doors.GATEWAY, doors.root() / doors.DARK, doors.root()):
            with pytest.raises(PermissionError):
                folder.rename(folder.with_name("8"))
            with pytest.raises(PermissionError):
                folder.with_name("9").symlink_to("/etc")
        with pytest.raises(PermissionError):
            (doors.root() / doors.DARK / doors.SOCKET).touch()


def test_other_users_of_the_host_do_not_get_in(opened: list[object]) -> None:
    doors.provide()
    door = Path(doors.make(7))
    with as_user(65534), pytest.raises(PermissionError):
        (door / doors.SOCKET).exists()


def test_folders_of_one_engine_serve_the_other(opened: list[object]) -> None:
    """Worker and keeper are root with the direct engine, and user 10001 with Docker's."""
    doors.provide()
    doors.make(7)
    with as_user(10001):
        doors.provide()
        assert Path(doors.make(8)).stat().st_gid == SERVICE
        doors.remove(7)
    assert doors.all_made() == {8}


@pytest.mark.parametrize("planted", [lambda path: path.symlink_to("/etc"), lambda path: path.touch()])
def test_a_link_or_a_file_in_the_place_of_a_door_is_refused(opened: list[object], planted: object) -> None:
    doors.provide()
    planted(doors.root() / "7")  # type: ignore[operator]
    with pytest.raises(EngineError, match="7 is not a folder"):
        doors.make(7)


@pytest.mark.parametrize(("mode", "owner"), [(0o2770, 0), (0o2757, 0), (0o2750, SERVICE)])
def test_no_door_in_a_folder_that_others_can_change(opened: list[object], mode: int, owner: int) -> None:
    doors.provide()
    doors.root().chmod(mode)
    os.chown(doors.root(), owner, -1)
    with pytest.raises(EngineError, match="can be written to by others|belongs to user"):
        doors.make(7)


def test_folder_of_an_older_version_is_made_anew(top: Path, opened: list[object]) -> None:
    """There the gateway was the keeper's user, and could have put anything into the folder."""
    doors.root().mkdir(mode=0o700)
    os.chown(doors.root(), 10001, 10001)
    (doors.root() / "7").symlink_to("/etc")
    doors.provide()
    assert doors.all_made() == set()
    assert doors.make(7) == str(doors.root() / "7")


def test_a_link_in_the_place_of_the_node_s_folder_is_removed_alone(top: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    doors.root().symlink_to(tmp_path / "elsewhere")
    doors.provide()
    assert (doors.root().is_symlink(), (tmp_path / "elsewhere").is_dir()) == (False, True)


def test_doors_of_running_sandboxes_stay_when_the_keeper_starts_again(opened: list[object]) -> None:
    doors.provide()
    doors.make(7)
    doors.provide()
    assert doors.all_made() == {7}


def test_folder_that_a_keeper_did_not_complete_is_completed_by_the_next(opened: list[object]) -> None:
    doors.provide()
    (doors.root() / doors.GATEWAY).chmod(0o750)
    doors.provide()
    with as_user(SERVICE):
        (doors.root() / doors.CONTROL).touch()


def test_before_the_keeper_s_start_there_is_no_door(opened: list[object]) -> None:
    with pytest.raises(EngineError, match="the keeper makes the folders at its start"):
        doors.make(7)


def test_a_run_waits_for_a_keeper_that_starts(opened: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "AGAIN_S", 0.01)
    keeper = threading.Timer(0.05, doors.provide)
    keeper.start()
    assert doors.make(7, patience_s=60) == str(doors.root() / "7")
    keeper.join()


def test_removed_door_is_gone_with_its_socket(opened: list[object]) -> None:
    doors.provide()
    (Path(doors.make(7)) / doors.SOCKET).touch()
    doors.remove(7)
    doors.remove(7)
    assert doors.all_made() == set()
    shutil.rmtree(doors.root())
    assert doors.all_made() == set()
