import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from clients.models import Client
from executions import people
from executions.models import Execution
from runtimes.models import Runtime
from tests.conftest import Visitor
from tests.pages import words

MakeExecution = Callable[..., Execution]
HELLO = {"name": "hello", "code": "print('hi')", "expect": {"stdout": "hi\n"}}
FILES = {"name": "files", "code": "x", "files": {"a/in.txt": "1"}, "expect": {"artifacts": ["out.txt"]}}


@pytest.fixture
def runtime(python_runtime: Runtime) -> Runtime:
    python_runtime.smoke = [HELLO, FILES]
    python_runtime.save()
    return python_runtime


def page(runtime: Runtime) -> str:
    return reverse("admin:trial", args=[runtime.pk])


def text(response: Any) -> str:
    assert response.status_code == 200
    return words(response.content.decode())


@pytest.fixture
def ended(runtime: Runtime, make_execution: MakeExecution) -> Callable[..., Execution]:
    """One program of a trial, as it ended."""
    trial = str(uuid.uuid4())

    def make(program: str = "hello", **fields: Any) -> Execution:
        labels = {"trial": trial, "smoke": program, "user": "admin"}
        return make_execution(runtime=runtime, client=people.client(), labels=labels, **fields)

    return make


@pytest.mark.parametrize("role", ["administrator", "operator"])
def test_every_smoke_program_is_queued_in_the_person_s_name(visitor: Visitor, runtime: Runtime, role: str) -> None:
    shown = text(visitor(role).post(page(runtime), follow=True))
    executions = Execution.objects.order_by("id")
    assert [execution.labels["smoke"] for execution in executions] == ["hello", "files"]
    assert len({execution.labels["trial"] for execution in executions}) == 1
    assert {(e.client and e.client.name, e.labels["user"], e.status) for e in executions} == {
        ("console", f"one {role}", "queued")
    }
    assert "hello not yet Queued" in shown


def test_files_of_a_program_come_along(browser: Browser, runtime: Runtime) -> None:
    browser.post(page(runtime))
    execution = Execution.objects.get(labels__smoke="files")
    assert [file.path for file in execution.input_files.all()] == ["a/in.txt"]


def test_auditor_starts_none(visitor: Visitor, runtime: Runtime) -> None:
    browser = visitor("auditor")
    assert browser.post(page(runtime)).status_code == 403
    assert (
        "Test run" not in browser.get(reverse("admin:runtimes_runtime_change", args=[runtime.pk])).content.decode()
    )
    assert not Execution.objects.exists()


def test_what_ended_as_it_should(browser: Browser, runtime: Runtime, ended: Callable[..., Execution]) -> None:
    ended(stdout="hi\n")
    shown = text(browser.get(page(runtime)))
    assert "All 1 passed" in shown
    assert "hello yes Succeeded" in shown


def test_what_did_not_is_said(browser: Browser, runtime: Runtime, ended: Callable[..., Execution]) -> None:
    ended(stdout="hi\n")
    ended("files", stdout="<b>")
    shown = text(browser.get(page(runtime)))
    assert "1 of 2 passed" in shown
    assert "files no Succeeded artifacts is [], not [&quot;out.txt&quot;]" in shown


def test_program_that_is_no_more(browser: Browser, runtime: Runtime, ended: Callable[..., Execution]) -> None:
    ended("gone")
    assert "gone unknown Succeeded the runtime no longer has this smoke program" in text(
        browser.get(page(runtime))
    )


def test_the_last_trial_is_shown(browser: Browser, runtime: Runtime, make_execution: MakeExecution) -> None:
    for stdout in ("hi\n", "no"):
        labels = {"trial": str(uuid.uuid4()), "smoke": "hello"}
        make_execution(client=people.client(), labels=labels, stdout=stdout, queued_at=timezone.now())
    assert "0 of 1 passed" in text(browser.get(page(runtime)))


def test_labels_of_a_caller_are_no_trial(
    browser: Browser, runtime: Runtime, make_execution: MakeExecution
) -> None:
    trial = str(uuid.uuid4())
    make_execution(client=Client.objects.create(name="other"), labels={"trial": trial, "smoke": "hello"})
    assert "does not exist" in text(browser.get(page(runtime), {"trial": trial}))


@pytest.mark.parametrize("trial", ["x", "\0", "01990000-0000-7000-8000-000000000000"])
def test_unknown_trial(browser: Browser, runtime: Runtime, trial: str) -> None:
    assert "does not exist" in text(browser.get(page(runtime), {"trial": trial}))


def test_what_the_console_may_not_is_said(browser: Browser, runtime: Runtime) -> None:
    Client.objects.create(name="console", max_open_executions=1)
    shown = text(browser.post(page(runtime), follow=True))
    assert "files could not be started" in shown
    assert Execution.objects.count() == 1


def test_runtime_without_programs_runs_hello(browser: Browser, python_runtime: Runtime) -> None:
    browser.post(page(python_runtime))
    assert Execution.objects.get().code == 'print("hello")'


def test_unknown_language_without_programs_runs_nothing(browser: Browser, python_runtime: Runtime) -> None:
    Runtime.objects.update(source_file="main.f90")
    shown = text(browser.post(page(python_runtime), follow=True))
    assert "no hello program is known for its language" in shown
    assert not Execution.objects.exists()


def test_switched_off_runtime_is_said(browser: Browser, runtime: Runtime) -> None:
    Runtime.objects.update(enabled=False)
    assert "The runtime is disabled" in text(browser.post(page(runtime), follow=True))
    assert not Execution.objects.exists()


def test_a_program_in_a_mode_that_the_runtime_has_not_is_told_of(browser: Browser, runtime: Runtime) -> None:
    Runtime.objects.filter(pk=runtime.pk).update(modes=["function"])
    shown = text(browser.post(page(runtime), follow=True))
    assert "hello could not be started: The runtime python has no mode script." in shown
    assert not Execution.objects.exists()
