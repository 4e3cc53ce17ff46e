from datetime import timedelta

import pytest
from django.conf import settings
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone
from django_q.models import Schedule

from audit import sealing
from audit.models import Seal
from console.schedule import Row
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
