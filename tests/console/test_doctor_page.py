import pytest
from django.conf import settings
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone
from django.utils.module_loading import import_string

from console import doctor
from console.models import DoctorReport
from sandbox_platform.doctor import task
from sandbox_platform.doctor.check import broken, ok
from sandboxes import nodes
from sandboxes.models import Node
from tests.pages import words
from tests.tasks import queued

DOCTOR = reverse("admin:doctor")


def shown(browser: Browser) -> str:
    return words(browser.get(DOCTOR).content.decode())


def test_checks_are_a_worker_s_task(browser: Browser) -> None:
    browser.post(DOCTOR)
    assert queued() == [(doctor.EXAMINE, ("admin",))]
    assert import_string(doctor.EXAMINE.function) is task.examine
    assert "requested by admin, a worker is checking" in shown(browser)


def test_a_report_is_expected_of_no_node_that_is_drained_while_another_serves(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "serving", lambda: ["another"])
    browser.post(DOCTOR)
    assert not DoctorReport.objects.exists()
    assert queued()


def test_what_the_worker_saw_is_shown_with_its_fix(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [ok("Postgres", "answers"), broken("gVisor", "is <not> there", "install runsc")]
    monkeypatch.setattr(task, "run_all", lambda: iter(found))
    task.examine("admin")
    assert "broken gVisor is &lt;not&gt; there Fix: install runsc ok Postgres answers" in shown(browser)
    assert "checked at" in shown(browser)


def test_the_real_checks_can_be_written_down(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    checks = {"Postgres": __import__("sandbox_platform.doctor.run", fromlist=["CHECKS"]).CHECKS["Postgres"]}
    monkeypatch.setattr("sandbox_platform.doctor.run.CHECKS", checks)
    task.examine("admin")
    (check,) = DoctorReport.objects.get().checks
    assert (check["name"], check["status"]) == ("Postgres", "ok")


def test_nobody_to_look_is_said(browser: Browser) -> None:
    assert "No worker is alive" in shown(browser)


def test_a_web_that_is_on_no_node_misses_nobody_there(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a cluster."""
    monkeypatch.setattr("sandboxes.nodes.serving", lambda: ["elsewhere"])
    assert "No worker is alive" not in shown(browser)


def test_a_node_without_a_worker_is_said_though_another_serves(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandboxes.nodes.serving", lambda: ["elsewhere"])
    Node.objects.create(name=settings.SANDBOX_NODE, seen_at=timezone.now())
    assert "No worker is alive" in shown(browser)
