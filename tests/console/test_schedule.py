from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import ProgrammingError
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone
from django_q.models import Schedule

from audit import sealing
from audit.models import Seal
from console import schedule
from console.models import JobRun
from console.schedule import Row
from sandbox_platform.kit import jobs
from sandbox_platform.kit.jobs import Job, LastRun
from tests.pages import words

SCHEDULE = reverse("admin:schedule")


def shown(browser: Browser) -> str:
    return words(browser.get(SCHEDULE).content.decode())


def test_what_was_done_last_is_shown(browser: Browser, make_execution: object) -> None:
    make_execution()  # type: ignore[operator]
    sealing.seal()
    assert "Seal the history" in shown(browser)
    assert f"{Seal.objects.get().created_at:%Y-%m-%d %H:%M:%S} Seal 1" in shown(browser)


def test_nobody_to_do_it_is_said(browser: Browser) -> None:
    assert "No keeper is alive" in shown(browser)


@pytest.mark.parametrize(("ago", "word"), [(timedelta(minutes=30), "on time"), (timedelta(hours=3), "late")])
def test_lateness_is_told(ago: timedelta, word: str) -> None:
    job = Job("x", "", timedelta(hours=1), lambda: None, recorded=True)
    assert Row(job, LastRun(timezone.now() - ago)).state[1] == word


def test_a_schedule_of_django_q2_is_a_stranger(browser: Browser) -> None:
    assert "Foreign schedules" not in shown(browser)
    Schedule.objects.create(func="os.system", args="'true'")
    assert "Foreign schedules" in shown(browser)


def test_django_q2_s_scheduler_is_off() -> None:
    assert settings.Q_CLUSTER["scheduler"] is False


# --- Last runs ---


@pytest.fixture(autouse=True)
def nothing_is_recorded_yet() -> Iterator[None]:
    jobs._recorded.clear()
    yield
    jobs._recorded.clear()


def one(work: Callable[[], object], **options: Any) -> Job:
    return Job("of the test", "", timedelta(hours=1), work, **options)


def fail() -> None:
    raise OSError("with a secret")


def test_a_run_is_recorded_with_its_begin_and_end(db: None) -> None:
    before = timezone.now()
    jobs.run(one(int))
    row = JobRun.objects.get()
    assert (row.job, row.node, row.error) == ("of the test", settings.SANDBOX_NODE, "")
    assert row.ended_at and before <= row.started_at <= row.ended_at


def test_a_job_that_runs_is_recorded_as_running(db: None) -> None:
    ends: list[object] = []
    jobs.run(one(lambda: ends.append(JobRun.objects.get().ended_at)))
    assert ends == [None]


def test_of_a_failure_the_class_is_recorded_and_not_the_text(db: None) -> None:
    with pytest.raises(OSError, match="secret"):
        jobs.run(one(fail))
    row = JobRun.objects.get()
    assert row.ended_at and row.error == "OSError"


def test_the_row_is_the_last_run(db: None) -> None:
    with pytest.raises(OSError, match="secret"):
        jobs.run(one(fail))
    jobs.run(one(int))
    assert JobRun.objects.get().error == ""


def test_a_job_of_every_tick_is_recorded_once_a_minute(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[jobs.Run] = []
    monkeypatch.setattr(jobs.record, "_answer", written.append)
    for _ in range(3):
        jobs.run(one(int, in_tick=True))
    assert len(written) == 1
    monkeypatch.setattr(jobs, "RECORD_EVERY_S", 0)
    jobs.run(one(int, in_tick=True))
    assert len(written) == 2


def test_a_job_of_every_tick_is_recorded_when_it_begins_to_fail_or_to_work(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[jobs.Run] = []
    monkeypatch.setattr(jobs.record, "_answer", written.append)
    for work in (int, fail, fail, int):
        with suppress(OSError):
            jobs.run(one(work, in_tick=True))
    assert [run.error for run in written] == ["", "OSError", ""]


def test_work_is_done_although_its_run_cannot_be_recorded(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(run: jobs.Run) -> None:
        raise ProgrammingError("permission denied")

    done: list[int] = []
    monkeypatch.setattr(jobs.record, "_answer", refuse)
    jobs.run(one(lambda: done.append(1)))
    assert done == [1]


def test_every_job_shows_its_last_run(browser: Browser) -> None:
    for job in jobs.declared():
        schedule.record(jobs.Run(job.name, timezone.now(), timezone.now()))
    page = shown(browser)
    assert page.count(", ok ") == len(jobs.declared())


def test_a_failed_job_is_marked(browser: Browser) -> None:
    name = jobs.declared()[0].name
    schedule.record(jobs.Run(name, timezone.now(), timezone.now(), "OSError"))
    assert "failed: OSError" in shown(browser)


def test_a_node_that_is_gone_is_not_shown(browser: Browser) -> None:
    long_ago = timezone.now() - schedule.FORGOTTEN - timedelta(hours=1)
    schedule.record(jobs.Run(jobs.declared()[0].name, long_ago, long_ago, "OSError"))
    assert "failed: OSError" not in shown(browser)
