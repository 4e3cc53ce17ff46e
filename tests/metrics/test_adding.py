"""What happens is counted by triggers and added up by a job."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from alerts.models import Notification
from clients.models import Client, Role
from executions import services
from executions.callbacks.models import Delivery, DeliveryAttempt, DeliveryStatus
from executions.models import Execution, Outcome, Status
from executions.models.execution import SELF_TEST
from executions.verdict import Verdict
from metrics import adding, requests
from metrics.counting import EVENTS, HISTOGRAMS, Histogram
from metrics.models import Event, Tally
from runtimes.models import Runtime
from sandboxes.models import Sandbox, SandboxState
from usage import refusals
from usage.refusals import Kind

pytestmark = pytest.mark.django_db
MakeExecution = Callable[..., Execution]


@pytest.fixture(autouse=True)
def nothing_of_other_tests(db: None) -> None:
    """What other tests of this process left in its memory is written, and forgotten with this test."""
    requests.flush()
    refusals.flush()
    Event.objects.all().delete()


def tally(metric: str, *labels: str) -> float | None:
    return Tally.objects.filter(metric=metric, labels=list(labels)).values_list("value", flat=True).first()


def timed(**more: Any) -> dict[str, Any]:
    """The times of an execution that waited 2 s, ran 0.3 s, and used 120 ms of CPU."""
    at = timezone.now() - timedelta(minutes=1)
    seconds = {"queued": 0.0, "claimed": 2.0, "sandbox": 2.02, "started": 2.03, "ended": 2.33, "finished": 2.34}
    times = {f"{name}_at": at + timedelta(seconds=after) for name, after in seconds.items()}
    return {**times, "cpu_ms": 120, "warm": True, **more}


def buckets(metric: str, *labels: str) -> dict[float, int]:
    """The numbers of values by the upper bound of their bucket, without the empty ones."""
    row = Tally.objects.get(metric=metric, labels=list(labels))
    bounds = [*next(one for one in HISTOGRAMS if one.name == metric).bounds, float("inf")]
    return {bound: number for bound, number in zip(bounds, row.buckets, strict=True) if number}


def test_an_end_is_counted_by_runtime_role_status_and_outcome(make_execution: MakeExecution) -> None:
    auditor = Client.objects.create(name="one", role=Role.ADMINISTRATOR)
    running = make_execution(status=Status.RUNNING, client=auditor)
    services.finish(running.pk, Verdict(Status.FAILED, Outcome.NONZERO_EXIT))
    adding.add_up()
    assert tally("runs_total", str(running.runtime_id), "administrator", "failed", "nonzero_exit") == 1


def test_a_rejected_request_is_counted_although_it_never_was_open(make_execution: MakeExecution) -> None:
    rejected = make_execution(status=Status.REJECTED, outcome=Outcome.CODE_POLICY)
    adding.add_up()
    assert tally("runs_total", str(rejected.runtime_id), "none", "rejected", "code_policy") == 1


def test_an_open_execution_is_not_counted(make_execution: MakeExecution) -> None:
    make_execution(status=Status.QUEUED)
    assert adding.add_up() == 0


def test_the_platform_s_own_runs_are_not_counted(make_execution: MakeExecution) -> None:
    running = make_execution(status=Status.RUNNING, endpoint=SELF_TEST)
    services.finish(running.pk, Verdict(Status.SUCCEEDED, Outcome.COMPLETED))
    make_execution(endpoint=SELF_TEST)
    assert adding.add_up() == 0


def test_each_phase_has_its_bucket(make_execution: MakeExecution) -> None:
    runtime = str(make_execution(**timed()).runtime_id)
    adding.add_up()
    phases = {
        phase: buckets("phase_seconds", runtime, phase) for phase in ("queue", "claim", "attach", "run", "store")
    }
    assert phases == {
        "queue": {2.5: 1}, "claim": {0.025: 1}, "attach": {0.01: 1}, "run": {0.5: 1}, "store": {0.01: 1},
    }  # fmt: skip


def test_a_value_on_a_bound_belongs_below_it(make_execution: MakeExecution) -> None:
    at = timezone.now()
    runtime = str(make_execution(queued_at=at, claimed_at=at + timedelta(seconds=1), finished_at=at).runtime_id)
    adding.add_up()
    assert buckets("phase_seconds", runtime, "queue") == {1.0: 1}


def test_a_phase_that_did_not_happen_is_in_no_bucket(make_execution: MakeExecution) -> None:
    make_execution(status=Status.CANCELLED, outcome=Outcome.QUEUE_TIMEOUT)
    adding.add_up()
    assert not Tally.objects.filter(metric="phase_seconds").exists()


def test_sums_go_on_where_they_were(make_execution: MakeExecution) -> None:
    for _ in range(2):
        runtime = str(make_execution(**timed()).runtime_id)
        adding.add_up()
    assert tally("run_cpu_seconds_total", runtime) == pytest.approx(0.24)
    assert tally("claims_total", runtime, "warm") == 2
    assert buckets("phase_seconds", runtime, "run") == {0.5: 2}


def test_purging_the_history_takes_nothing_away(make_execution: MakeExecution) -> None:
    execution = make_execution(**timed())
    adding.add_up()
    with connection.cursor() as cursor:  # past the guards of the history, which a purge satisfies
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("DELETE FROM executions_execution")
        cursor.execute("SET LOCAL session_replication_role = origin")
    assert tally("claims_total", str(execution.runtime_id), "warm") == 1


def test_a_clock_that_is_set_back_lowers_no_counter(make_execution: MakeExecution) -> None:
    now = timezone.now()
    runtime = str(make_execution(**timed(started_at=now, ended_at=now - timedelta(seconds=5))).runtime_id)
    adding.add_up()
    assert tally("phase_seconds", runtime, "run") == 0


def test_no_event_is_left_behind(make_execution: MakeExecution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "STEP", 2)
    for _ in range(5):
        make_execution()
    assert (adding.add_up(), Event.objects.count()) == (5, 0)


def test_an_event_of_another_release_is_dropped() -> None:
    Event.objects.create(name="from_the_future", labels=["a"], amounts=[])
    Event.objects.create(name="refusal", labels=["rate", "more"], amounts=[])
    assert adding.add_up() == 2
    assert not Tally.objects.exists()


def test_a_histogram_with_other_bounds_starts_again(make_execution: MakeExecution) -> None:
    runtime = str(make_execution(**timed()).runtime_id)
    Tally.objects.create(metric="phase_seconds", labels=[runtime, "run"], value=700, buckets=[7, 0])
    adding.add_up()
    assert buckets("phase_seconds", runtime, "run") == {0.5: 1}
    assert tally("phase_seconds", runtime, "run") == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ({"state": SandboxState.READY, "ready_at": timezone.now()}, "ready"),
        ({"state": SandboxState.USED}, "failed"),
        ({"state": SandboxState.USED, "execution_id": None}, "abandoned"),
    ],
)
def test_a_start_is_counted_with_its_result(python_runtime: Runtime, changes: dict[str, Any], result: str) -> None:
    sandbox = Sandbox.objects.create(
        node="n", runtime=python_runtime, runtime_revision=1, engine="direct",
        execution_id="01900000-0000-7000-8000-000000000000",
    )  # fmt: skip
    Sandbox.objects.filter(pk=sandbox.pk).update(**changes)
    adding.add_up()
    assert tally("starts_total", "direct", result) == 1
    assert Tally.objects.filter(metric="start_seconds").exists() == (result == "ready")


def test_a_sandbox_of_a_build_is_no_start_for_the_pool(python_runtime: Runtime) -> None:
    sandbox = Sandbox.objects.create(node="n", runtime=python_runtime, runtime_revision=1, held=True)
    Sandbox.objects.filter(pk=sandbox.pk).update(state=SandboxState.USED)
    assert adding.add_up() == 0


def test_refusals_are_counted_by_kind() -> None:
    for number in (3, 2):
        for _ in range(number):
            refusals.count(Kind.RATE, 7)
        refusals.flush()
    adding.add_up()
    assert tally("refusals_total", "rate") == 5


def test_callbacks_are_counted_by_answer_and_end(make_execution: MakeExecution) -> None:
    make_execution(callback_url="https://example.com/hook")
    delivery = Delivery.objects.get()
    DeliveryAttempt.objects.create(delivery=delivery, at=timezone.now(), status_code=503, duration_ms=40)
    DeliveryAttempt.objects.create(delivery=delivery, at=timezone.now(), duration_ms=9, error="no route")
    Delivery.objects.update(status=DeliveryStatus.GIVEN_UP, finished_at=timezone.now(), next_attempt_at=None)
    adding.add_up()
    assert (tally("callback_attempts_total", "5xx"), tally("callback_attempts_total", "none")) == (1, 1)
    assert tally("callbacks_total", "given_up") == 1
    assert buckets("callback_seconds") == {0.01: 1, 0.05: 1}


def test_messages_about_alerts_are_counted() -> None:
    now = timezone.now()
    notification = Notification.objects.create(channel_name="mail", created_at=now, next_attempt_at=now)
    notification.attempts.create(at=now, ok=False, duration_ms=1, answer="refused")
    adding.add_up()
    assert tally("alert_messages_total", "failed") == 1


def test_like_answers_of_the_web_are_one_event() -> None:
    for seconds in (0.0501, 0.0502, 0.0499):
        requests.count("/run", 200, seconds)
    requests.count("/api/v1/executions", 429, 0.001)
    assert (requests.flush(), Event.objects.count()) == (4, 2)
    adding.add_up()
    assert tally("http_requests_total", "run", "2xx") == 3
    assert tally("http_requests_total", "api", "4xx") == 1
    assert buckets("http_request_seconds", "run") == {0.05: 3}


def test_the_tallies_of_a_deleted_runtime_are_removed(python_runtime: Runtime) -> None:
    for runtime in (python_runtime.pk, 999_999):
        Tally.objects.create(metric="claims_total", labels=[str(runtime), "warm"], value=1)
    Tally.objects.create(metric="refusals_total", labels=["rate"], value=1)
    assert adding.forget_runtimes() == 1
    assert {(row.metric, row.labels[0]) for row in Tally.objects.all()} == {
        ("claims_total", str(python_runtime.pk)),
        ("refusals_total", "rate"),
    }


def test_every_metric_takes_what_its_event_has() -> None:
    for metric in (*adding.COUNTERS, *HISTOGRAMS):
        assert set(metric.labels) <= set(metric.event.labels)
        amounts = set(metric.amounts) if isinstance(metric, Histogram) else {metric.amount} - {""}
        assert amounts <= set(metric.event.amounts)
        assert EVENTS[metric.event.name] is metric.event
