"""What the admin asks for is refused as the API refuses it."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client as Browser
from django.urls import reverse

from clients.models import Client
from executions import people
from executions.models import Execution, Outcome, Status
from inspections.models import Inspection, InspectionKind
from seccomp_profiles.models import UNCONFINED
from tests.pages import words

CODE = "print(1)"
SHA256 = hashlib.sha256(CODE.encode()).hexdigest()
RAN: dict[str, Any] = {"status": Status.FAILED, "image_id": "sha256:1", "code": CODE, "code_sha256": SHA256}
RAN["profile_name"] = "default"


def explain(browser: Browser, execution: Execution) -> str:
    address = reverse("admin:inspections_inspection_explain", args=[execution.pk])
    return browser.post(address, follow=True).content.decode()


def test_an_execution_is_explained_once(browser: Browser, make_execution: Callable[..., Execution]) -> None:
    execution = make_execution(**RAN)
    for _ in range(2):
        explain(browser, execution)
    assert Inspection.objects.get().execution_id == execution.pk


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (RAN | {"status": Status.RUNNING}, "The execution never ran, or is still running."),
        (RAN | {"image_id": ""}, "The execution never ran, or is still running."),
        (RAN | {"code": "password = ***"}, "The program is not stored unchanged."),
        (RAN | {"profile_name": UNCONFINED}, "The execution had no seccomp profile"),
    ],
)
def test_what_cannot_be_run_as_it_was_is_not_explained(
    browser: Browser, make_execution: Callable[..., Execution], fields: dict[str, Any], why: str
) -> None:
    assert why in explain(browser, make_execution(**fields))
    assert not Inspection.objects.exists()


def test_what_people_explain_has_the_limits_of_the_console(
    browser: Browser, make_execution: Callable[..., Execution]
) -> None:
    Client.objects.create(name=people.CLIENT, allowed_runtimes=["nodejs"])
    assert "may not use the runtime python" in explain(browser, make_execution(**RAN))
    assert not Inspection.objects.exists()


@pytest.mark.parametrize(("profile", "offered"), [("default", True), (UNCONFINED, False), ("", False)])
def test_a_trace_is_offered_only_for_a_run_under_a_profile(
    browser: Browser, make_execution: Callable[..., Execution], profile: str, offered: bool
) -> None:
    denied = {"outcome": Outcome.NONZERO_EXIT, "exit_code": 1, "stderr": "Operation not permitted"}
    execution = make_execution(**RAN | denied | {"profile_name": profile})
    address = reverse("admin:executions_execution_change", args=[execution.pk])
    page = browser.get(address).content.decode()
    assert ("Which system calls were refused?" in page) == offered
    assert ("may have refused a system call" in page) == offered


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (None, "default may have refused a system call."),
        ([], "default refused no system call, as a trace found"),
        ([{"name": "ptrace", "times": 2}], "default refused ptrace, as a trace found."),
    ],
)
def test_guess_at_the_top_gives_way_to_what_a_trace_found(
    browser: Browser, make_execution: Callable[..., Execution], refused: Any, said: str
) -> None:
    fields = {"outcome": Outcome.NONZERO_EXIT, "exit_code": 1, "stderr": "Operation not permitted"}
    execution = make_execution(**RAN | fields)
    details = {} if refused is None else {"summary": "Traced.", "refused": refused}
    Inspection.objects.create(kind=InspectionKind.TRACE, execution_id=execution.pk, details=details)
    shown = browser.get(reverse("admin:executions_execution_change", args=[execution.pk])).content.decode()
    assert said in words(shown)
