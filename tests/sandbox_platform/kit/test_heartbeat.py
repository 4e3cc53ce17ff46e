import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from pytest_django import Settings

from sandbox_platform.kit import heartbeat
from sandbox_platform.kit.broker import NotifyBroker
from sandbox_platform.kit.heartbeat import Heartbeat


@pytest.fixture
def folder(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(heartbeat, "PERIOD_S", 0)
    settings.SANDBOX_ALIVE_DIR = str(tmp_path)
    return tmp_path


def is_renewed(file: Path, act: Callable[[], object]) -> bool:
    file.touch()
    os.utime(file, (0, 0))
    act()
    return file.stat().st_mtime > 0


def test_each_beat_renews_the_file_of_the_service(folder: Path) -> None:
    heart = Heartbeat("keeper")
    heart.beat()
    assert is_renewed(folder / "alive.keeper", heart.beat)


def test_file_is_renewed_once_in_a_period(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "PERIOD_S", 3600)
    heart = Heartbeat("keeper")
    heart.beat()
    assert not is_renewed(folder / "alive.keeper", heart.beat)


def test_without_a_folder_nothing_is_written(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SANDBOX_ALIVE_DIR = ""
    monkeypatch.chdir(tmp_path)
    Heartbeat("keeper").beat()
    assert list(tmp_path.iterdir()) == []


def test_a_service_whose_disk_is_full_goes_on(folder: Path) -> None:
    (folder / "alive.keeper").symlink_to("/dev/full/no-file")
    Heartbeat("keeper").beat()


@pytest.mark.parametrize(
    ("queue", "service"), [(None, "worker"), ("callbacks", "callbacks"), ("builds", "builder")]
)
@pytest.mark.django_db(transaction=True)
def test_a_queue_that_is_listened_to_beats(
    folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, queue: str | None, service: str
) -> None:
    monkeypatch.setattr("sandbox_platform.kit.broker.WAIT_S", 0)
    broker = NotifyBroker(queue)
    with closing(broker._listen()):
        assert is_renewed(folder / f"alive.{service}", broker.dequeue)


@pytest.mark.django_db(transaction=True)
def test_a_service_that_does_not_get_its_lock_does_not_beat(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_lock(*_: object) -> None:
        raise psycopg.OperationalError

    monkeypatch.setattr("sandbox_platform.kit.broker.liveness.hold_worker", no_lock)
    monkeypatch.setattr("sandbox_platform.kit.broker.RECONNECT_S", 0)
    assert not is_renewed(folder / "alive.worker", NotifyBroker().dequeue)
