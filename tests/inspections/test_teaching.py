"""Learning is asked for in the browser: the page, what it requests, and its result."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from executions.models import Execution
from inspections.models import Inspection, InspectionKind
from runtimes.models import Runtime
from seccomp_profiles import revisions
from seccomp_profiles.models import SeccompRevision
from tests.conftest import Visitor
from tests.pages import words
from tests.seccomp_profiles.test_validators import deny, profile

LEARN = reverse("admin:inspections_inspection_learn")
PROFILES = reverse("admin:seccomp_profiles_seccompprofile_changelist")


@pytest.fixture
def revision(db: None) -> SeccompRevision:
    return revisions.create_profile("quiet", profile(deny("mkdir"))).current


def learn(browser: Browser, runtime: Runtime, **fields: Any) -> Any:
    data = {"runtime": runtime.pk, "source": "program", "code": "", "mode": "script", "arguments": "{}"}
    return browser.post(LEARN, data | fields, follow=True)


def requested() -> dict[str, Any]:
    inspection = Inspection.objects.get(kind=InspectionKind.LEARN)
    return dict(inspection.details.get("request", {}))


def test_page_of_a_profile_leads_to_the_choice_of_programs(browser: Browser, revision: SeccompRevision) -> None:
    page = reverse("admin:seccomp_profiles_seccompprofile_change", args=[revision.profile_id])
    assert f"{LEARN}?revision={revision.pk}" in browser.get(page).content.decode()
    assert "compared with quiet 1" in browser.get(LEARN, {"revision": revision.pk}).content.decode()


def test_program_of_ones_own_is_learnt_from(
    browser: Browser, python_runtime: Runtime, revision: SeccompRevision
) -> None:
    code = "\nprint(input())\n"
    learn(browser, python_runtime, code=code, stdin="x", revision=revision.pk)
    inspection = Inspection.objects.get()
    assert (inspection.runtime, inspection.revision, inspection.requested_by) == (
        python_runtime, revision, "user admin",
    )  # fmt: skip
    (program,) = requested()["programs"]
    assert (program["code"], program["mode"], program["stdin"]) == (code, "script", "x")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"source": "smoke"}, {}),
        ({"source": "smoke", "pure": "on"}, {"pure": True}),
        ({"source": "last", "last": "7"}, {"last": 7}),
    ],
)
def test_other_programs_are_learnt_from(
    browser: Browser, python_runtime: Runtime, fields: dict[str, str], expected: dict[str, Any]
) -> None:
    learn(browser, python_runtime, **fields)
    assert requested() == expected


def test_one_execution_is_learnt_from(
    browser: Browser, python_runtime: Runtime, make_execution: Callable[..., Execution]
) -> None:
    execution = make_execution()
    learn(browser, python_runtime, source="execution", execution=execution.pk)
    assert Inspection.objects.get().execution_id == execution.pk


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "Code : This field is required."),
        ({"source": "last", "last": ""}, "Last : This field is required."),
        ({"source": "last", "last": "1000"}, "less than or equal to 100"),
        ({"source": "execution", "execution": "01900000-0000-7000-8000-000000000000"}, "has no such execution"),
        ({"code": "x", "arguments": "[]"}, "Must be a JSON object"),
        ({"code": "x", "arguments": '{"a": "\\u0000"}'}, "Contains NUL"),
        ({"code": "x", "mode": "function"}, "has only the mode script"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_in_words(
    browser: Browser, python_runtime: Runtime, fields: dict[str, str], said: str
) -> None:
    Runtime.objects.update(modes=["script"])
    assert said in words(learn(browser, python_runtime, **fields).content.decode())
    assert not Inspection.objects.exists()


def test_list_of_profiles_leads_to_learning(browser: Browser, db: None) -> None:
    assert LEARN in browser.get(PROFILES).content.decode()


@pytest.mark.parametrize("role", ["operator", "auditor"])
def test_only_administrators_learn(visitor: Visitor, python_runtime: Runtime, role: str) -> None:
    browser = visitor(role)
    assert LEARN not in browser.get(PROFILES).content.decode()
    assert browser.get(LEARN).status_code == 403
    assert learn(browser, python_runtime, code="x").status_code == 403


def test_long_result_is_folded(browser: Browser, python_runtime: Runtime) -> None:
    changes = [
        {"syscall": f"call{number}", "before": "allowed", "after": "denied", "description": "does something"}
        for number in range(300)
    ]
    inspection = Inspection.objects.create(
        kind=InspectionKind.LEARN, runtime=python_runtime, state="done", finished_at=timezone.now(),
        details={"summary": "", "programs": [], "difference": {"denied": changes, "allowed": changes[:3]}},
    )  # fmt: skip
    page = reverse("admin:inspections_inspection_change", args=[inspection.pk])
    html = browser.get(page).content.decode()
    folded = html.partition('<details class="found-more">')[2]
    assert words(folded).startswith("Newly denied: 300 (call0, call1, call2, call3, call4, call5, …)")
    assert html.count('class="found-more"') == 1
