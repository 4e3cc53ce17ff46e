"""One list of jobs: each room declares its own, every keeper runs them, and the console shows them."""

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client as Browser
from django.urls import reverse

from sandbox_platform.keeper import build_keeper
from sandbox_platform.kit import jobs
from sandbox_platform.kit.jobs import Job, JobThread
from sandbox_platform.kit.services import Service
from tests.live import eventually
from tests.sandboxes.stub_engine import StubEngine


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Callable[[Job], Job]:
    """Declares a job for one test."""
    monkeypatch.setattr(jobs, "_declared", {job.name: job for job in jobs.declared()})
    return jobs.declare


def job(work: Callable[[], object], name: str = "of the test", **options: object) -> Job:
    return Job(name, "", timedelta(hours=1), work, **options)  # type: ignore[arg-type]


def test_every_module_of_jobs_is_found() -> None:
    rooms = (path.parent for path in settings.BASE_DIR.glob("[a-z]*/__init__.py"))
    modules = {path.parent for room in rooms for path in room.glob("**/jobs.py")}
    found = {
        Path(job.work.__code__.co_filename).parent for job in jobs.declared() if hasattr(job.work, "__code__")
    }
    assert modules - {settings.BASE_DIR / "sandbox_platform" / "kit"} <= found


def test_a_declared_job_is_run_by_the_keeper_and_shown_by_the_console(
    browser: Browser, declare: Callable[[Job], Job]
) -> None:
    done: list[int] = []
    declare(job(lambda: done.append(1), in_tick=True))
    build_keeper(StubEngine())._tick()
    assert done == [1]
    assert "of the test" in browser.get(reverse("admin:schedule")).content.decode()


@pytest.mark.django_db
def test_jobs_of_the_callbacks_service_are_not_the_keepers(declare: Callable[[Job], Job]) -> None:
    done: list[int] = []
    declared = declare(job(lambda: done.append(1), in_tick=True, runs_in=Service.CALLBACKS))
    build_keeper(StubEngine())._tick()
    assert done == []
    assert declared in jobs.of(Service.CALLBACKS)


def test_two_jobs_of_one_name_are_refused(declare: Callable[[Job], Job]) -> None:
    declare(job(int))
    with pytest.raises(ValueError, match="of the test"):
        declare(job(str))


@pytest.mark.django_db(transaction=True)
def test_a_job_that_fails_is_tried_again() -> None:
    tries: list[int] = []

    def work() -> None:
        tries.append(1)
        raise RuntimeError

    thread = JobThread(job(work, look_every_s=0.0))
    thread.tick()
    eventually(lambda: len(tries) == 1, "the first try")
    eventually(lambda: thread.tick() or len(tries) == 2, "the second try")
    thread.stop()


@pytest.mark.django_db(transaction=True)
def test_a_slow_job_does_not_run_twice_at_once() -> None:
    begun, go = threading.Semaphore(0), threading.Event()

    def work() -> None:
        begun.release()
        go.wait(30)

    thread = JobThread(job(work, look_every_s=0.0))
    thread.tick()
    assert begun.acquire(timeout=30)
    thread.tick()
    go.set()
    thread.stop()
    assert not begun.acquire(blocking=False)
