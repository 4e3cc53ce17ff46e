import json
import pickle
import re
import uuid
from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone
from django_q.models import Failure, OrmQ

from builds import services as builds
from clients.models import Client
from console import doctor
from executions import services
from executions.callbacks import deliveries
from executions.callbacks.models import Delivery
from executions.models import Execution, Status
from sandbox_platform.kit.cluster import FAILED as RECORD
from tests.conftest import Visitor
from tests.pages import cells, words
from tests.tasks import queued as waiting

MakeExecution = Callable[..., Execution]
QUEUE = reverse("admin:django_q_ormq_changelist")
FAILED = reverse("admin:django_q_failure_changelist")


@pytest.fixture
def queued(make_execution: MakeExecution, client_with_token: tuple[Client, str]) -> Execution:
    execution = make_execution(status=Status.QUEUED, client=client_with_token[0])
    services.enqueue(execution)
    return execution


def fail(task: str = services.RUN.name, *arguments: Any, error: str = "boom") -> Failure:
    """As a worker records it, see tests/sandbox_platform/kit/test_cluster.py."""
    pk = uuid.uuid4().hex
    values = [
        pk,
        " ".join(map(str, arguments)),
        task,
        json.dumps(arguments),
        error,
        "sandbox-platform",
        timezone.now(),
    ]
    with connection.cursor() as cursor:
        cursor.execute(RECORD, values)
    return Failure.objects.get(pk=pk)


def html_of(browser: Browser, address: str, **query: str) -> str:
    response = browser.get(address, query)
    assert response.status_code == 200
    return response.content.decode()


def act(browser: Browser, address: str, action: str, row: Any) -> str:
    response = browser.post(address, {"action": action, "_selected_action": [row.pk]}, follow=True)
    return words(response.content.decode())


# --- What waits ---


def test_queue_says_what_waits_for_whom(browser: Browser, queued: Execution) -> None:
    html = html_of(browser, QUEUE)
    assert cells(html, "kind") == ["Run a program"]
    assert cells(html, "subject") == [str(queued.pk)]
    assert cells(html, "client") == ["ragflow"]
    assert cells(html, "state") == ["Waiting for a worker"]


def test_queue_knows_callbacks(browser: Browser, make_execution: MakeExecution) -> None:
    execution = make_execution(callback_url="https://example.com/hook")
    deliveries.enqueue_due()
    html = html_of(browser, QUEUE)
    assert cells(html, "kind") == ["Deliver a callback"]
    assert cells(html, "subject") == [str(execution.pk)]
    assert cells(html, "queue") == ["callbacks"]


def test_queue_is_filtered_by_client(browser: Browser, queued: Execution) -> None:
    assert cells(html_of(browser, QUEUE, client=str(queued.client_id)), "kind") == ["Run a program"]
    assert cells(html_of(browser, QUEUE, client="0"), "kind") == []
    assert cells(html_of(browser, QUEUE, client="nonsense"), "kind") == []


def test_forged_task_is_unknown_and_harmless(browser: Browser, db: None) -> None:
    OrmQ.objects.create(key="sandbox-platform", payload="forged", lock=timezone.now())
    assert "Not a task of this platform" in html_of(browser, QUEUE)


def test_page_of_a_queued_task_is_named_in_words(browser: Browser, queued: Execution) -> None:
    page = html_of(browser, reverse("admin:django_q_ormq_change", args=[OrmQ.objects.get().pk]))
    (title,) = re.findall(r"<h1\b.*?</h1>", page, re.DOTALL)
    assert "Run a program (python of client ragflow, queued at " in words(title)


def test_operator_cancels_what_waits(visitor: Visitor, queued: Execution) -> None:
    assert "1 cancelled" in act(visitor("operator"), QUEUE, "cancel", OrmQ.objects.get())
    queued.refresh_from_db()
    assert queued.status == Status.CANCELLED


def test_only_programs_are_cancelled(browser: Browser, db: None) -> None:
    doctor.EXAMINE.enqueue("admin")
    assert "1 not cancelled" in act(browser, QUEUE, "cancel", OrmQ.objects.get())


def test_auditor_cancels_nothing(visitor: Visitor, queued: Execution) -> None:
    act(visitor("auditor"), QUEUE, "cancel", OrmQ.objects.get())
    queued.refresh_from_db()
    assert queued.status == Status.QUEUED


# --- What failed ---


def test_failed_tasks_say_why(browser: Browser, queued: Execution) -> None:
    fail(services.RUN.name, str(queued.pk), error="ValueError: <b>no</b> such thing\n  File x\n    f()\n")
    html = html_of(browser, FAILED)
    assert cells(html, "error") == ["ValueError: &lt;b&gt;no&lt;/b&gt; such thing"]
    assert cells(html, "subject") == [str(queued.pk)]


@pytest.mark.parametrize(("error", "said"), [("", "no reason given"), ("short", "short"), ("a\nb", "a")])
def test_reason_is_one_line(browser: Browser, error: str, said: str) -> None:
    fail(error=error)
    assert cells(html_of(browser, FAILED), "error") == [said]


class Touch:
    """Pickled, it creates a file when somebody unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_pickle_in_a_row_is_never_loaded(browser: Browser, tmp_path: Path) -> None:
    marker = tmp_path / "loaded"
    forged = b64encode(pickle.dumps(Touch(marker))).decode()
    failure = fail()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE django_q_task SET args = %s, kwargs = %s, result = %s", [forged] * 3)
    OrmQ.objects.create(key="sandbox-platform", payload=forged, lock=timezone.now())
    for page in (QUEUE, FAILED, reverse("admin:django_q_failure_change", args=[failure.pk])):
        html_of(browser, page)
    act(browser, FAILED, "run_again", failure)
    act(browser, QUEUE, "cancel", OrmQ.objects.get())
    assert not marker.exists()


@pytest.mark.parametrize("query, number", [({"range": "1h"}, 1), ({"range": "7d"}, 2), ({}, 3)])
def test_failed_tasks_have_a_time_range(browser: Browser, db: None, query: dict[str, str], number: int) -> None:
    for days in (0, 2, 40):
        Failure.objects.filter(pk=fail().pk).update(stopped=timezone.now() - timedelta(days=days))
    html = html_of(browser, FAILED, **query)
    assert len(cells(html, "failed")) == number
    assert 'aria-label="Time range"' in html


def test_failed_task_s_page_has_its_traceback(browser: Browser, db: None) -> None:
    failure = fail(doctor.EXAMINE.name, "admin", error="e\n  <i>line</i>")
    html = html_of(browser, reverse("admin:django_q_failure_change", args=[failure.pk]))
    assert "&lt;i&gt;line&lt;/i&gt;" in html
    assert "Retry" in html


def test_lost_run_is_put_back(visitor: Visitor, queued: Execution) -> None:
    OrmQ.objects.all().delete()
    failure = fail(services.RUN.name, str(queued.pk))
    assert "1 queued." in act(visitor("operator"), FAILED, "run_again", failure)
    assert waiting() == [(services.RUN, (str(queued.pk),))]
    assert not Failure.objects.exists()


def test_one_that_has_begun_never_runs_twice(browser: Browser, make_execution: MakeExecution) -> None:
    execution = make_execution()
    failure = fail(services.RUN.name, str(execution.pk))
    assert "The execution is succeeded: run it again from its page." in act(browser, FAILED, "run_again", failure)
    assert not OrmQ.objects.exists()
    assert Failure.objects.exists()


def test_messages_and_title_name_the_task_in_words(
    browser: Browser, make_execution: MakeExecution, client_with_token: tuple[Client, str]
) -> None:
    execution = make_execution(client=client_with_token[0])
    failure = fail(services.RUN.name, str(execution.pk))
    name = f"Run a program (python of client ragflow, queued at {execution.queued_at:%Y-%m-%d %H:%M:%S})"
    assert f"{name}: The execution is succeeded" in act(browser, FAILED, "run_again", failure)
    page = html_of(browser, reverse("admin:django_q_failure_change", args=[failure.pk]))
    (title,) = re.findall(r"<h1\b.*?</h1>", page, re.DOTALL)
    assert name in words(title) and str(execution.pk) not in title


def test_callback_is_made_again_where_docker_is_not(browser: Browser, make_execution: MakeExecution) -> None:
    execution = make_execution(callback_url="https://example.com/hook")
    delivery = Delivery.objects.get(execution=execution)
    act(browser, FAILED, "run_again", fail(deliveries.DELIVER.name, delivery.pk, 0))
    delivery.refresh_from_db()
    assert delivery.status == "pending"
    assert not OrmQ.objects.exists()  # whoever delivers queues it for itself


@pytest.mark.parametrize("function", ["os.system", "console.doctor.page", "executions.tasks.run_execution"])
def test_no_other_function_is_ever_called(browser: Browser, db: None, function: str) -> None:
    failure = fail(function, "touch /tmp/x")
    assert "This is not a task of this platform" in act(browser, FAILED, "run_again", failure)
    assert not OrmQ.objects.exists()


def test_arguments_of_a_row_are_not_passed_on(browser: Browser, db: None) -> None:
    act(browser, FAILED, "run_again", fail(doctor.EXAMINE.name, "somebody else"))
    assert waiting() == [(doctor.EXAMINE, ("admin",))]


def test_operator_builds_nothing_again(visitor: Visitor, db: None) -> None:
    failure = fail(builds.BUILD.name, 1)
    assert "Your role does not permit this" in act(visitor("operator"), FAILED, "run_again", failure)


def test_auditor_tries_nothing_again(visitor: Visitor, db: None) -> None:
    failure = fail(doctor.EXAMINE.name, "admin")
    auditor = visitor("auditor")
    act(auditor, FAILED, "run_again", failure)
    assert not OrmQ.objects.exists()
    assert "Retry" not in html_of(auditor, reverse("admin:django_q_failure_change", args=[failure.pk]))
