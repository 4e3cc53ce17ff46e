"""Whoever is shown a secret stands in the trail: who, what, when and from where."""

from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import ProgrammingError, connection
from django.test import Client as Browser
from django.utils import timezone

from audit import sealing
from audit.models import Leaf, ShownSecret, TrailEntry
from audit.models.changes import ShownSecretEvent
from audit.verification import verify
from clients.models import Client
from executions.models import Execution
from runtimes.models import Runtime
from sandbox_platform.kit import disclosures
from tests.conftest import TOKEN

pytestmark = pytest.mark.django_db
MakeExecution = Callable[..., Execution]
CLIENTS = "/admin/clients/client/"


@pytest.fixture(autouse=True)
def nothing_is_recent() -> Iterator[None]:
    disclosures.recent.seen.clear()
    yield
    disclosures.recent.seen.clear()


@pytest.fixture
def runtime(python_runtime: Runtime) -> Runtime:
    Runtime.objects.update(environment={"KEY": "secret"})
    python_runtime.refresh_from_db()
    return python_runtime


def told() -> list[tuple[str, str, str]]:
    """Who, what and from where, newest last."""
    entries = TrailEntry.objects.filter(pgh_obj_model="audit.ShownSecret").order_by("pgh_created_at")
    return [(entry.who, str((entry.pgh_data or {})["name"]), entry.where) for entry in entries]


def act(browser: Browser, action: str, client: Client, **more: str) -> str:
    form = {"action": action, "_selected_action": [client.pk], **more}
    return browser.post(CLIENTS, form, follow=True).content.decode()


def api(method: str, path: str, **body: Any) -> Any:
    send = getattr(Browser(), method)
    return send(
        f"/api/v1{path}", body or None, content_type="application/json", headers={"X-Sandbox-Token": TOKEN}
    )


def test_a_new_token(browser: Browser, client_with_token: tuple[Client, str]) -> None:
    assert "shown only now" in act(browser, "issue_new_token", client_with_token[0], overlap="keep")
    assert told() == [("user admin", "new token of client ragflow", "127.0.0.1")]


@pytest.mark.parametrize("action", ["show_callback_secret", "rotate_callback_secret"])
def test_a_callback_secret(browser: Browser, client_with_token: tuple[Client, str], action: str) -> None:
    assert "whsec_" in act(browser, action, client_with_token[0])
    assert told() == [("user admin", "callback secret of client ragflow", "127.0.0.1")]


def test_the_webhook_secret_of_the_heads() -> None:
    out = StringIO()
    call_command("heads", "--webhook-secret", stdout=out)
    assert "whsec_" in out.getvalue()
    ((who, what, _),) = told()
    assert what == "webhook secret of the heads"
    assert "sandbox-platform" in who


def test_a_runtime_s_environment_in_the_console(browser: Browser, runtime: Runtime) -> None:
    browser.get(f"/admin/runtimes/runtime/{runtime.pk}/change/")
    assert told() == [("user admin", "environment of runtime python", "127.0.0.1")]


def test_a_runtime_s_environment_in_the_api(client_with_token: tuple[Client, str], runtime: Runtime) -> None:
    assert api("get", "/runtimes/python").json()["environment"] == {"KEY": "secret"}
    api("get", "/runtimes")
    assert told() == [("client ragflow", "environment of runtime python", "127.0.0.1")]


def test_an_environment_that_is_withheld_is_no_disclosure(
    client_with_token: tuple[Client, str], runtime: Runtime
) -> None:
    Client.objects.update(allowed_runtimes=["other"])
    assert api("get", "/runtimes/python").json()["environment"] is None
    assert told() == []


def test_an_empty_environment_is_no_disclosure(browser: Browser, python_runtime: Runtime) -> None:
    browser.get(f"/admin/runtimes/runtime/{python_runtime.pk}/change/")
    assert told() == []


def test_the_environment_that_a_run_had(
    browser: Browser, client_with_token: tuple[Client, str], runtime: Runtime, make_execution: MakeExecution
) -> None:
    execution = make_execution(client=client_with_token[0], environment={"KEY": "secret"})
    assert "secret" in browser.get(f"/admin/executions/execution/{execution.pk}/change/").content.decode()
    assert api("get", f"/executions/{execution.pk}").json()["runtime_environment"] == {"KEY": "secret"}
    what = "environment of runtime python"
    assert told() == [("user admin", what, "127.0.0.1"), ("client ragflow", what, "127.0.0.1")]


@pytest.mark.parametrize("path", ["/executions", "/executions/export"])
def test_environments_in_a_list(client_with_token: tuple[Client, str], path: str) -> None:
    assert api("get", f"{path}?fields=id").status_code == 200
    assert told() == []
    assert api("get", f"{path}?fields=id,runtime_environment").status_code == 200
    assert told() == [("client ragflow", "environments of runtimes, in a list of executions", "127.0.0.1")]


def test_without_a_record_nothing_is_shown(
    browser: Browser, client_with_token: tuple[Client, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ProgrammingError("permission denied")

    monkeypatch.setattr(disclosures.record, "_answer", fail)
    with pytest.raises(ProgrammingError):
        act(browser, "show_callback_secret", client_with_token[0])


def test_what_is_read_all_the_time_is_recorded_once_an_hour(
    browser: Browser, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = f"/admin/runtimes/runtime/{runtime.pk}/change/"
    browser.get(page)
    browser.get(page)
    assert len(told()) == 1
    monkeypatch.setattr(disclosures, "ONCE_IN_S", 0)
    browser.get(page)
    assert len(told()) == 2


def test_it_is_sealed(browser: Browser, client_with_token: tuple[Client, str]) -> None:
    act(browser, "show_callback_secret", client_with_token[0])
    sealing.seal()
    assert Leaf.objects.filter(source=ShownSecretEvent._meta.db_table).count() == 1
    assert list(verify()) == []


@pytest.mark.parametrize("table", ["audit_shownsecret", "audit_shownsecretevent"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET name = ''", "DELETE FROM {}"])
def test_it_only_grows(table: str, statement: str) -> None:
    disclosures.shown("x")
    with pytest.raises(Exception, match="Cannot update or delete"), connection.cursor() as cursor:
        cursor.execute(statement.format(table))


def test_it_has_a_time() -> None:
    before = timezone.now()
    disclosures.shown("x")
    assert ShownSecret.objects.count() == 1
    assert before <= TrailEntry.objects.get(pgh_obj_model="audit.ShownSecret").pgh_created_at <= timezone.now()
