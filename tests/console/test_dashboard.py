from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from audit import sealing
from clients.models import Client
from executions.models import Execution, Status
from inspections.models import Inspection
from runtimes.models import Runtime
from sandboxes import nodes
from sandboxes.models import Node
from seccomp_profiles import revisions
from tests.conftest import Visitor
from tests.inspections.conftest import denying
from tests.pages import words

MakeExecution = Callable[..., Execution]
INDEX = reverse("admin:index")


def text(browser: Browser, **query: str) -> str:
    response = browser.get(INDEX, query)
    assert response.status_code == 200
    return words(response.content.decode())


def test_an_empty_system_says_what_to_do_first(browser: Browser) -> None:
    shown = text(browser)
    assert "No executions yet" in shown
    assert "First steps 4 of 4 to do" in shown


def test_counts_and_shares(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution(warm=True)
    make_execution(warm=False, status=Status.FAILED, outcome="nonzero_exit")
    shown = text(browser)
    assert "Executions 2 50.0 % succeeded" in shown
    assert "Warm starts 50.0 % 1 cold" in shown
    assert "50.0 % 1 failed" in shown


def test_queue_is_shown_with_its_oldest(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution(status=Status.QUEUED, queued_at=timezone.now() - timedelta(minutes=5))
    assert "Queue 1 oldest waiting for 5 min" in text(browser)


def test_busiest_clients_come_first(browser: Browser, make_execution: MakeExecution) -> None:
    quiet, busy = (Client.objects.create(name=name) for name in ("quiet", "busy"))
    for client in (quiet, busy, busy):
        make_execution(client=client)
    assert "busy 2 quiet 1" in text(browser).partition("Busiest clients")[2]


@pytest.mark.parametrize(
    "query, shown",
    [
        ({"range": "1h"}, "Executions 1 "),
        ({"range": "24h"}, "Executions 2 "),
        ({"range": "30d"}, "Executions 3 "),
        ({"range": "x'"}, "Executions 2 "),
        ({"since": "2024-02-28T00:00", "until": "2024-03-01T00:00"}, "Executions 1 "),
        ({"until": "2024-03-01T00:00"}, "Executions 1 "),
        ({"since": "0001-01-01", "until": "9999-12-31T23:59:59"}, "Executions 4 "),
        ({"since": "2099-01-01"}, "Executions 0 "),
    ],
)
def test_range_is_chosen(
    browser: Browser, make_execution: MakeExecution, query: dict[str, str], shown: str
) -> None:
    for ago in (timedelta(0), timedelta(hours=5), timedelta(days=10)):
        make_execution(queued_at=timezone.now() - ago)
    make_execution(queued_at=datetime(2024, 2, 29, tzinfo=UTC))
    assert shown in text(browser, **query)


def test_a_range_that_is_none_is_refused(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution()
    assert "since: &#x27;soon&#x27; is not a time." in text(browser, since="soon")


def test_figures_lead_to_the_list_of_their_range(browser: Browser, make_execution: MakeExecution) -> None:
    execution = make_execution(
        status=Status.FAILED, outcome="nonzero_exit", client=Client.objects.create(name="c")
    )
    html = browser.get(INDEX, {"range": "7d"}).content.decode()
    executions = reverse("admin:executions_execution_changelist")
    for query in (
        "status__exact=platform_error",
        f"runtime__id__exact={execution.runtime_id}&amp;status__exact=failed",
        f"client__id__exact={execution.client_id}",
    ):
        assert f'"{executions}?range=7d&amp;{query}"' in html


def test_service_that_is_down_is_said(browser: Browser) -> None:
    assert "Service down no keeper and no worker" in text(browser)


def test_places_are_those_of_the_nodes_that_serve(
    browser: Browser, make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A web in a cluster has settings of its own, and is on no node."""
    make_execution()
    for name, workers in (("a", 4), ("b", 6), ("gone", 90)):
        Node.objects.create(name=name, seen_at=timezone.now(), workers=workers)
    monkeypatch.setattr(nodes, "serving", lambda: ["a", "b"])
    assert "of at most 10 on 2 nodes" in text(browser)


def test_seals_are_for_those_who_may_see_them(visitor: Visitor, make_execution: MakeExecution) -> None:
    make_execution()
    sealing.seal()
    assert "Audit seals #" in text(visitor("auditor"))
    assert "Audit seals" not in text(visitor("operator"))


def test_age_of_the_last_seal_is_in_whole_minutes(
    browser: Browser, make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_execution()
    sealing.seal()
    make_execution()
    later = timezone.now() + timedelta(minutes=58, seconds=20)
    monkeypatch.setattr(timezone, "now", lambda: later)
    assert "58 min ago, 1 row pending" in text(browser)


def test_as_many_queries_for_a_long_history(browser: Browser, make_execution: MakeExecution) -> None:
    make_execution()
    browser.get(INDEX)
    with CaptureQueriesContext(connection) as few:
        browser.get(INDEX)
    for days in range(5):
        make_execution(queued_at=timezone.now() - timedelta(days=days))
    with CaptureQueriesContext(connection) as many:
        browser.get(INDEX, {"range": "30d"})
    assert len(many) == len(few)


def test_probes_of_what_is_in_use_are_shown(browser: Browser, python_runtime: Runtime) -> None:
    python_runtime.seccomp_profile = revisions.create_profile("quiet", denying("ptrace"))
    python_runtime.save()
    assert "Seccomp probes 0 of 1 quiet on python: never probed" in text(browser)
    Inspection.objects.create(
        kind="probe", revision=python_runtime.seccomp_profile.current, runtime=python_runtime, state="done",
        verdict="not_enforced", finished_at=timezone.now() - timedelta(minutes=5), node="n", runtime_revision=2,
        details={"summary": "<b>ptrace went through"},
    )  # fmt: skip
    shown = text(browser).partition("is each profile in force enforced")[2]
    assert "quiet 1 python Not enforced 5 min ago on n &lt;b&gt;ptrace went through" in shown


def test_no_profile_in_use_is_said(browser: Browser, python_runtime: Runtime) -> None:
    assert "Seccomp probes none no runtime has a profile" in text(browser)
