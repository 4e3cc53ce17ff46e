import hashlib
from collections.abc import Callable

import pytest
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from api.ragflow import views as ragflow
from clients.models import Client
from console import first_steps
from executions import people
from executions.models import Execution, Outcome, Status
from executions.models.execution import CALLED_BY, SELF_TEST
from runtimes.models import Runtime
from scripts import smoke
from tests.conftest import Visitor
from tests.pages import words

MakeExecution = Callable[..., Execution]
INDEX, STEPS, ABOUT = (reverse(f"admin:{name}") for name in ("index", "first_steps", "about"))


def done() -> set[str]:
    return {step.name for step in first_steps.steps() if step.done}


def dashboard(browser: Browser) -> str:
    return words(browser.get(INDEX).content.decode())


def test_nothing_is_done_on_an_empty_installation(db: None) -> None:
    assert done() == set()


def test_a_run_from_the_playground_is_a_step(visitor: Visitor, python_runtime: Runtime) -> None:
    answer = visitor("administrator").post(
        reverse("playground_run"), {"runtime": "python", "code": "print(1)"}, content_type="application/json"
    )
    assert answer.status_code == 202
    assert done() == set()
    Execution.objects.update(status=Status.SUCCEEDED, outcome=Outcome.COMPLETED, finished_at=timezone.now())
    assert done() == {"run"}


def test_a_program_that_succeeded_is_the_first_step_whoever_ran_it(
    make_execution: MakeExecution, client_with_token: tuple[Client, str]
) -> None:
    make_execution(status=Status.FAILED, outcome=Outcome.NONZERO_EXIT)
    make_execution(endpoint=SELF_TEST)
    make_execution(code_sha256=first_steps.SMOKE_SHA256[0])
    assert done() == set()
    make_execution(client=client_with_token[0], endpoint=ragflow.ENDPOINT, labels={CALLED_BY: "curl"})
    assert done() == {"run"}


def test_each_step_leads_to_its_page(browser: Browser, client_with_token: tuple[Client, str]) -> None:
    links = {step.name: step.link for step in first_steps.steps()}
    assert links == {
        "run": reverse("admin:playground"),
        "call": reverse("admin:clients_client_changelist"),
        "limit": reverse("admin:clients_client_change", args=[client_with_token[0].pk]),
        "trail": reverse("admin:audit_trailentry_changelist"),
    }
    page = browser.get(INDEX).content.decode()
    assert all(f'<a href="{link}">' in page for link in links.values())


def test_a_long_history_is_not_read(make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_steps, "LOOKED_AT", 2)
    make_execution()
    failed = {"status": Status.FAILED, "outcome": Outcome.NONZERO_EXIT}
    make_execution(**failed)
    assert first_steps._has_run()
    make_execution(**failed)
    assert not first_steps._has_run()


def test_a_run_of_a_caller_is_a_step_but_the_smoke_test_is_not(
    make_execution: MakeExecution, client_with_token: tuple[Client, str]
) -> None:
    for program in smoke.PROGRAMS.values():
        make_execution(client=client_with_token[0], code_sha256=hashlib.sha256(program.encode()).hexdigest())
    make_execution(client=None)
    assert "call" not in done()
    make_execution(client=client_with_token[0])
    assert "call" in done()


def test_a_call_of_run_by_hand_connects_no_ragflow(
    make_execution: MakeExecution, client_with_token: tuple[Client, str]
) -> None:
    assert first_steps.RAGFLOW == ragflow.ENDPOINT
    client = client_with_token[0]
    make_execution(client=client, endpoint=ragflow.ENDPOINT, labels={CALLED_BY: "curl"})
    assert "call" not in done()
    make_execution(client=client, endpoint=ragflow.ENDPOINT)
    assert "call" in done()


def test_labels_of_the_api_are_its_caller_s_own(
    make_execution: MakeExecution, client_with_token: tuple[Client, str]
) -> None:
    make_execution(client=client_with_token[0], endpoint="executions", labels={CALLED_BY: "an agent"})
    assert "call" in done()


def test_a_limit_set_by_a_person_is_a_step(visitor: Visitor, client_with_token: tuple[Client, str]) -> None:
    client = client_with_token[0]
    Client.objects.filter(pk=client.pk).update(max_runs_per_day=10)
    assert done() == set()
    Client.objects.filter(pk=client.pk).update(max_runs_per_day=None)
    address = reverse("admin:clients_client_change", args=[client.pk])
    tokens = {"tokens-TOTAL_FORMS": "0", "tokens-INITIAL_FORMS": "0"}
    data = {"name": client.name, "enabled": "on", "role": "caller", "network": "none"} | tokens
    browser = visitor("administrator")
    assert browser.post(address, data | {"name": "renamed"}).status_code == 302
    assert done() == set()
    assert browser.post(address, data | {"max_memory_bytes": "512 MiB"}).status_code == 302
    assert done() == {"limit"}


def test_a_look_at_the_trail_is_a_step(visitor: Visitor) -> None:
    trail = reverse("admin:audit_trailentry_changelist")
    assert visitor("auditor").get(trail).status_code == 200
    assert done() == set()
    browser = visitor("administrator")
    for _ in range(2):
        assert browser.get(trail).status_code == 200
    assert done() == {"trail"}


def test_a_step_stays_done_after_a_purge(make_execution: MakeExecution) -> None:
    make_execution(client=people.client(), endpoint=people.ENDPOINT)
    assert done() == {"run"}
    Client.objects.filter(name=people.CLIENT).update(name="renamed")
    assert "run" in done()


def test_the_dashboard_leads_through_until_all_are_done(browser: Browser, make_execution: MakeExecution) -> None:
    shown = dashboard(browser)
    assert "First steps 4 of 4 to do" in shown
    assert "SANDBOX_HOST=sandbox-executor-manager" in shown
    assert "curl -s http://testserver/api/v1/executions" in shown
    make_execution(client=people.client(), endpoint=people.ENDPOINT)
    assert "First steps 3 of 4 to do" in dashboard(browser)
    first_steps.remember("call", "limit", "trail")
    assert "First steps" not in dashboard(browser)


def test_who_cannot_do_the_steps_does_not_see_them(visitor: Visitor) -> None:
    for role in ("operator", "auditor"):
        browser = visitor(role)
        assert "First steps" not in dashboard(browser)
        assert browser.get(STEPS).status_code == 403
        assert "First steps" not in browser.get(ABOUT).content.decode()


def test_they_are_hidden_by_one_person_and_come_back(browser: Browser, visitor: Visitor) -> None:
    assert browser.post(STEPS, {"hide": "yes"}).status_code == 302
    assert browser.post(STEPS, {"hide": "yes"}).status_code == 302
    assert "First steps" not in dashboard(browser)
    assert "First steps" in dashboard(visitor("administrator"))
    assert STEPS in browser.get(ABOUT).content.decode()
    assert "Show on the dashboard" in browser.get(STEPS).content.decode()
    browser.post(STEPS, {"show": "yes"})
    assert "First steps" in dashboard(browser)
