"""Each shipped condition of executions and clients fires on real rows, and recovers when they change."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from alerts.models import Alert, Rule
from clients.admission import admit
from clients.models import Client
from clients.storage import add_up
from executions.callbacks.models import Delivery, DeliveryStatus
from executions.failures.grouping import group_failures
from executions.failures.models import FailureGroup
from executions.models import Execution, Outcome, Status
from executions.models.ids import short_id
from runtimes.models import Runtime
from sandbox_platform.kit import conditions
from tests.alerts.conftest import Later, Watch, evaluate, firing

MakeExecution = Callable[..., Execution]


def test_every_condition_has_a_test_of_its_shipped_rules() -> None:
    files = Path(__file__).parent.glob("test_conditions*.py")
    tested = "".join(path.read_text(encoding="utf-8") for path in files)
    names = [rule.name for condition in conditions.declared().values() for rule in condition.shipped]
    assert [name for name in names if f'watch("{name}"' not in tested] == []
    assert all(condition.shipped for condition in conditions.declared().values())


@pytest.fixture
def client(client_with_token: tuple[Client, str]) -> Client:
    return client_with_token[0]


def failed(make: MakeExecution, number: int, **values: Any) -> None:
    for _ in range(number):
        make(**{"status": Status.FAILED, "outcome": Outcome.NONZERO_EXIT} | values)


def test_platform_errors(watch: Watch, make_execution: MakeExecution, later: Later) -> None:
    fires = watch("Platform errors")
    failed(make_execution, 2, status=Status.PLATFORM_ERROR)
    assert fires() == []
    failed(make_execution, 1, status=Status.PLATFORM_ERROR)
    assert fires() == ["all executions"]
    later(minutes=15)
    assert fires() == []


def test_failures_of_a_client(watch: Watch, make_execution: MakeExecution, client: Client) -> None:
    fires = watch("Most executions of a client fail", number=4)
    other = Client.objects.create(name="other")
    failed(make_execution, 4, client=client)
    failed(make_execution, 3, client=other)
    assert fires() == ["client ragflow"]
    for _ in range(2):  # 4 of 6 is below 80 %
        make_execution(client=client)
    assert fires() == []


def test_failures_of_a_runtime(
    watch: Watch, make_execution: MakeExecution, python_runtime: Runtime, later: Later
) -> None:
    fires = watch("Most executions of a runtime fail", number=2)
    failed(make_execution, 2, status=Status.OUT_OF_MEMORY)
    assert fires() == ["runtime python"]
    make_execution()
    assert fires() == []


def test_failures_of_one_kind_leave_out_the_others(watch: Watch, make_execution: MakeExecution) -> None:
    fires = watch("Platform errors", kind="limit", number=1)
    failed(make_execution, 3)
    assert fires() == []
    failed(make_execution, 1, status=Status.TIMED_OUT)
    assert fires() == ["all executions"]


def test_new_failures(watch: Watch, make_execution: MakeExecution, client: Client, later: Later) -> None:
    fires = watch("New failure", number=3)
    failed(make_execution, 2, client=client, stderr="ValueError: a secret of the program")
    group_failures()
    assert fires() == []
    failed(make_execution, 1, client=client, stderr="ValueError: a secret of the program")
    group_failures()
    group = FailureGroup.objects.get()
    seen = f"{group.created_at:%Y-%m-%d %H:%M}"
    assert fires() == [f"Exception on python, new at {seen} UTC ({short_id(group.pk)})"]
    alert = Alert.objects.get()
    assert alert.detail == "Exception of client ragflow on python: 3 runs."
    later(hours=1)
    assert fires() == []


def test_new_failure_that_quotes_no_output_is_named_by_its_title(
    watch: Watch, make_execution: MakeExecution
) -> None:
    fires = watch("New failure", number=1)
    failed(make_execution, 1, exit_code=3)
    group_failures()
    (subject,) = fires()
    assert subject.startswith("Exit status 3 on python, new at ")


def test_runs_that_waited_when_a_backup_was_taken_are_no_news(
    watch: Watch, make_execution: MakeExecution, settings: Settings
) -> None:
    fires = watch("New failure", number=1)
    settings.SANDBOX_QUEUE_TIMEOUT_MS = 600_000
    waited = {"status": Status.CANCELLED, "outcome": Outcome.QUEUE_TIMEOUT}
    taken = timezone.now() - timedelta(days=1)
    failed(make_execution, 1, queued_at=taken, enqueued_at=taken, **waited)
    group_failures()
    group = FailureGroup.objects.get()
    assert (fires(), group.first_at) == ([], taken + timedelta(minutes=10))
    failed(make_execution, 1, client=Client.objects.create(name="other"), **waited)
    group_failures()
    (subject,) = fires()
    assert subject.startswith("Queue timeout on python, new at ")
    assert "Platform error" not in Alert.objects.get().detail


def test_queue(watch: Watch, make_execution: MakeExecution) -> None:
    fires = watch("Queue too old", age_ms=300_000)
    waiting = make_execution(status=Status.QUEUED, outcome="")
    assert fires() == []
    waiting.queued_at = waiting.queued_at - timedelta(minutes=5)
    waiting.save(update_fields=["queued_at"])
    assert fires() == ["the queue"]
    Execution.objects.update(status=Status.CANCELLED, outcome=Outcome.CANCEL_REQUESTED, finished_at=timezone.now())
    assert fires() == []


def test_lost_callbacks(watch: Watch, make_execution: MakeExecution, client: Client, later: Later) -> None:
    fires = watch("Callbacks lost", number=2)
    for _ in range(2):
        make_execution(client=client, callback_url="https://example.com/hook")
    Delivery.objects.update(status=DeliveryStatus.GIVEN_UP, next_attempt_at=None, finished_at=timezone.now())
    assert fires() == ["client ragflow"]
    later(hours=1)
    assert fires() == []


def test_daily_quota(watch: Watch, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    fires = watch("Daily quota nearly used up")
    client.max_runs_per_day = 10
    client.save()
    admit(client, 8)
    assert fires() == []
    admit(client, 1)
    assert fires() == ["client ragflow"]
    tomorrow = timezone.now() + timedelta(days=1)
    monkeypatch.setattr(timezone, "now", lambda: tomorrow)
    assert evaluate() == 1
    assert firing() == []


@pytest.mark.parametrize("added_up", [False, True])
def test_storage_quota(watch: Watch, make_execution: MakeExecution, client: Client, added_up: bool) -> None:
    fires = watch("Storage quota nearly used up")
    Client.objects.update(max_stored_bytes=100_000)
    make_execution(client=client, code="#" * 95_000)
    if added_up:
        add_up()
    assert fires() == ["client ragflow"]
    Client.objects.update(max_stored_bytes=200_000)
    assert fires() == []


def test_details_have_no_text_of_programs(watch: Watch, make_execution: MakeExecution, client: Client) -> None:
    fires = watch("Most executions of a client fail", number=1)
    secret = "sk-of-the-program"
    failed(
        make_execution, 1, client=client, code=secret, stdout=secret, stderr=secret, message=secret,
        labels={"a": secret},
    )  # fmt: skip
    assert fires() == ["client ragflow"]
    assert secret not in str(list(Rule.objects.get().alerts.values()))


def test_day_of_a_quota_is_that_of_utc(watch: Watch, client: Client) -> None:
    from clients.models import ClientUsage

    fires = watch("Daily quota nearly used up")
    Client.objects.update(max_runs_per_day=1)
    yesterday = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    ClientUsage.objects.create(client=client, day=yesterday, day_used=5)
    assert fires() == []
