"""The self-test of separation: when which program is submitted, and what is made of what the second one finds."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from clients.models import Client
from executions import figures
from executions.models import Execution, Status
from executions.models.execution import SELF_TEST
from inspections import separation
from inspections.conditions import runs_see_each_other
from inspections.jobs import separation as job_module
from inspections.separation import LEAVE, LOOK, PAIR, PART
from runtimes.models import Runtime
from sandbox_platform.kit import conditions
from sandbox_platform.kit.services import Service
from tests.sandbox_platform.acting import acting_as, made, there_are_roles
from usage import rollup

__all__ = ["made", "there_are_roles"]
MakeExecution = Callable[..., Execution]
DAY = {"window_ms": conditions.DAY_MS}


@pytest.fixture(autouse=True)
def tester(python_runtime: Runtime) -> Client:
    return separation.client()


def parts() -> list[str]:
    return [row.labels[PART] for row in Execution.objects.filter(endpoint=SELF_TEST).order_by("id")]


def end_all(result: str = "[]", **fields: Any) -> None:
    Execution.objects.filter(status=Status.QUEUED).update(
        status=Status.SUCCEEDED, outcome="completed", finished_at=timezone.now(), result=result, **fields
    )


def looked(
    make: MakeExecution, tester: Client, result: str | None, *, hours: float = 0, **fields: Any
) -> Execution:
    at = timezone.now() - timedelta(hours=hours)
    labels = {PAIR: "1", PART: LOOK}
    return make(
        client=tester, endpoint=SELF_TEST, labels=labels, result=result, queued_at=at, finished_at=at, **fields
    )


def findings() -> list[str]:
    return [finding.detail for finding in runs_see_each_other(DAY)]


def test_the_second_program_is_submitted_once_the_first_has_ended() -> None:
    separation.tend()
    separation.tend()
    assert parts() == [LEAVE]
    end_all()
    separation.tend()
    assert parts() == [LEAVE, LOOK]
    first, second = Execution.objects.order_by("id")
    assert first.labels[PAIR] == second.labels[PAIR]
    assert OrmQ.objects.count() == 2


@pytest.mark.parametrize(("hours", "submitted"), [(0.9, [LOOK]), (1.1, [LOOK, LEAVE])])
def test_the_next_pair_begins_after_an_hour(
    make_execution: MakeExecution, tester: Client, hours: float, submitted: list[str]
) -> None:
    looked(make_execution, tester, "[]", hours=hours)
    separation.tend()
    assert parts() == submitted


@pytest.mark.parametrize("off", ["client", "runtime"])
def test_nothing_is_submitted_while_it_is_off(tester: Client, off: str) -> None:
    if off == "client":
        Client.objects.update(enabled=False)
    else:
        Runtime.objects.update(enabled=False)
    separation.tend()
    assert parts() == []
    assert separation.last_run().words.startswith("Off: ")


def test_no_quota_and_no_code_policy_holds_it_up(tester: Client) -> None:
    Client.objects.update(max_open_executions=1)
    Runtime.objects.update(code_policy="block")
    separation.tend()
    assert Execution.objects.get().status == Status.QUEUED


def test_the_keeper_may_submit_it() -> None:
    with acting_as(Service.KEEPER):
        separation.tend()
    assert parts() == [LEAVE]


@pytest.mark.parametrize(
    ("hours", "found"), [(23, ["A run found 1 traces of an earlier one, on node n1."]), (25, [])]
)
def test_a_trace_is_a_finding_for_a_day(
    make_execution: MakeExecution, tester: Client, hours: int, found: list[str]
) -> None:
    looked(make_execution, tester, '["/tmp/self-test-trace-1"]', hours=hours, node="n1")
    looked(make_execution, tester, "[]")
    assert findings() == found


def test_self_tests_that_all_fail_are_a_finding(make_execution: MakeExecution, tester: Client) -> None:
    looked(make_execution, tester, None, status=Status.FAILED, outcome="nonzero_exit")
    assert findings() == ["No self-test in the window ended as it must."]
    looked(make_execution, tester, "[]")
    assert findings() == []


def test_the_page_of_jobs_tells_what_the_last_pair_found(make_execution: MakeExecution, tester: Client) -> None:
    assert job_module.last_run().at is None
    looked(make_execution, tester, '["a", "b"]')
    assert separation.last_run().words == "2 traces of an earlier run found."
    looked(make_execution, tester, "[]")
    assert separation.last_run().words == "No trace found."


def test_no_figure_and_no_usage_counts_it(make_execution: MakeExecution, tester: Client) -> None:
    looked(make_execution, tester, "[]", hours=3)
    make_execution(client=tester, queued_at=timezone.now() - timedelta(hours=3))
    since = timezone.now() - timedelta(hours=1)
    assert sum(row["count"] for row in figures.counts(since - timedelta(hours=4), until=since)) == 1
    rollup.roll_up()
    assert sum(rollup.HourlyUsage.objects.values_list("runs", flat=True)) == 1
