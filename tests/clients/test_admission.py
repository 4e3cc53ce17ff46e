from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import Settings

from clients import admission
from clients.admission import COUNT, NeverFits, OverLimit, admit, usage_of
from clients.models import Client, ClientStorage, ClientUsage, StorageChange
from clients.models.usage import SECONDS
from executions import services
from executions.models import Execution, Status
from runtimes.models import Runtime

MakeExecution = Callable[..., Execution]
RATES = ("max_runs_per_minute", "max_runs_per_day")


def client_with(**limits: int) -> Client:
    return Client.objects.create(name="dify", **limits)


def refusal(client: Client, count: int = 1) -> OverLimit:
    with pytest.raises(OverLimit) as caught, transaction.atomic():
        admit(client, count)
    return caught.value


@pytest.mark.parametrize("limits", [{}, {"max_wall_time_ms": 500}])
def test_client_without_such_limits_costs_no_query(
    db: None, django_assert_num_queries, settings: Settings, limits
) -> None:
    settings.SANDBOX_CLIENT_STORAGE_BYTES = 0
    client = client_with(**limits)
    with django_assert_num_queries(0):
        admit(client)


def test_nobody_has_no_limits(db: None, django_assert_num_queries) -> None:
    with django_assert_num_queries(0):
        admit(None)


@pytest.mark.parametrize("limit", RATES)
def test_as_many_as_allowed_are_admitted(db: None, limit: str) -> None:
    client = client_with(**{limit: 3})
    for _ in range(3):
        admit(client)
    assert refusal(client).limit == limit


@pytest.mark.parametrize("limit", RATES)
def test_batch_is_admitted_as_a_whole_or_not_at_all(db: None, limit: str) -> None:
    client = client_with(**{limit: 3})
    admit(client, 2)
    assert refusal(client, 2).used == 2
    admit(client, 1)


@pytest.mark.parametrize("limit", (*RATES, "max_open_executions"))
def test_batch_above_the_limit_never_fits(db: None, limit: str) -> None:
    with pytest.raises(NeverFits, match="Send smaller batches"):
        admit(client_with(**{limit: 3}), 4)


def test_refused_one_is_not_counted(db: None) -> None:
    client = client_with(max_runs_per_minute=1, max_runs_per_day=10)
    admit(client)
    refusal(client)
    assert usage_of(client).day_used == 1


def seconds_pass(number: int) -> None:
    ClientUsage.objects.update(second=F("second") - number)


def test_next_day_counts_anew(db: None) -> None:
    client = client_with(max_runs_per_day=1)
    admit(client)
    ClientUsage.objects.update(day=F("day") - timedelta(days=1))
    admit(client)
    assert refusal(client).used == 1


@pytest.mark.parametrize("seconds", [SECONDS, SECONDS + 1, 10**6])
def test_run_of_more_than_a_minute_ago_is_no_more(db: None, seconds: int) -> None:
    client = client_with(max_runs_per_minute=1)
    admit(client)
    seconds_pass(seconds)
    assert usage_of(client).minute_used == 0
    admit(client)
    assert refusal(client).used == 1


@pytest.mark.parametrize("seconds", [1, 30, 58])
def test_run_of_the_last_minute_counts_whatever_the_clock_says(db: None, seconds: int) -> None:
    client = client_with(max_runs_per_minute=1)
    admit(client)
    seconds_pass(seconds)
    assert refusal(client).used == usage_of(client).minute_used == 1


def test_no_minute_holds_more_than_allowed(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_with(max_runs_per_minute=5)
    admitted = []
    for second in range(0, 200, 5):
        monkeypatch.setattr(admission, "COUNT", COUNT.replace("now()", f"to_timestamp({10**9 + second})"))
        with suppress(OverLimit):
            for _ in range(3):
                with transaction.atomic():
                    admit(client)
                admitted.append(second)
    assert max(sum(at <= other <= at + 60 for other in admitted) for at in admitted) == 5
    assert len(admitted) > 12


def test_day_goes_on_when_the_minute_is_over(db: None) -> None:
    client = client_with(max_runs_per_day=1)
    admit(client)
    seconds_pass(SECONDS)
    refusal(client)


def test_call_that_waited_since_an_earlier_second_counts_in_the_present_one(db: None) -> None:
    client = client_with(max_runs_per_minute=2)
    admit(client)
    seconds_pass(-30)
    ahead = ClientUsage.objects.get().second
    admit(client)
    assert (ClientUsage.objects.get().second, refusal(client).used) == (ahead, 2)


def test_place_frees_a_minute_after_it_was_taken(db: None) -> None:
    client = client_with(max_runs_per_minute=1)
    admit(client)
    refused = refusal(client)
    assert refused.frees_at == datetime.fromtimestamp(ClientUsage.objects.get().second + SECONDS, UTC)
    assert 59 <= refused.retry_after_s <= SECONDS


def test_time_to_come_again_is_when_as_many_as_asked_for_have_gone(db: None) -> None:
    client = client_with(max_runs_per_minute=3)
    admit(client)
    seconds_pass(40)
    admit(client, 2)
    frees = [refusal(client, count).retry_after_s for count in (1, 2, 3)]
    assert frees[0] <= SECONDS - 40 < 55 <= frees[1] == frees[2]


def test_called_again_in_time_the_refused_one_is_admitted(db: None) -> None:
    client = client_with(max_runs_per_minute=2)
    admit(client, 2)
    seconds_pass(refusal(client).retry_after_s)
    admit(client)


def test_day_frees_at_midnight_utc(db: None) -> None:
    client = client_with(max_runs_per_day=1)
    admit(client)
    frees_at = refusal(client).frees_at
    assert frees_at
    frees_at = frees_at.astimezone(UTC)
    assert (frees_at.hour, frees_at.minute) == (0, 0)
    assert timedelta(0) < frees_at - timezone.now() <= timedelta(days=1)


def test_longest_wait_is_told(db: None) -> None:
    client = client_with(max_runs_per_minute=1, max_runs_per_day=1)
    admit(client)
    assert refusal(client).limit == "max_runs_per_day"


def test_time_to_come_again_is_rounded_up() -> None:
    soon = timezone.now() + timedelta(milliseconds=1500)
    assert OverLimit("max_runs_per_minute", 1, 1, soon).retry_after_s == 2


def test_open_executions_are_limited(make_execution: MakeExecution) -> None:
    client = client_with(max_open_executions=2)
    make_execution(client=client, status=Status.QUEUED)
    make_execution(client=client, status=Status.RUNNING)
    refused = refusal(client)
    assert (refused.limit, refused.used, refused.frees_at) == ("max_open_executions", 2, None)


def test_ended_executions_and_other_clients_are_not_counted_as_open(make_execution: MakeExecution) -> None:
    client = client_with(max_open_executions=1)
    make_execution(client=client)
    make_execution(client=Client.objects.create(name="other"), status=Status.RUNNING)
    admit(client)


def store(client: Client, number: int) -> None:
    ClientStorage.objects.create(client=client, bytes=number)


def test_client_that_stores_as_much_as_it_may_is_refused(db: None) -> None:
    client = client_with(max_stored_bytes=2**20)
    store(client, 2**20 - 1)
    admit(client)
    StorageChange.objects.create(client_id=client.pk, bytes=1)
    refused = refusal(client)
    assert (refused.limit, refused.value, refused.used) == ("max_stored_bytes", 2**20, 2**20)
    assert "holds 1 MiB and may hold 1 MiB. Ask an administrator" in str(refused)
    assert refused.retry_after_s == 3600


@pytest.mark.parametrize(("own", "default", "limit"), [(None, 5, 5), (None, 0, None), (0, 5, None), (7, 5, 7)])
def test_quota_of_stored_bytes_is_the_clients_or_the_default(
    settings: Settings, own: int | None, default: int, limit: int | None
) -> None:
    settings.SANDBOX_CLIENT_STORAGE_BYTES = default
    assert Client(max_stored_bytes=own).stored_limit == limit


def test_refusal_for_stored_bytes_counts_no_run(db: None) -> None:
    client = client_with(max_stored_bytes=1, max_runs_per_day=5)
    store(client, 1)
    refusal(client)
    assert not ClientUsage.objects.exists()


def test_purge_makes_room(db: None) -> None:
    client = client_with(max_stored_bytes=10)
    store(client, 10)
    refusal(client)
    StorageChange.objects.create(client_id=client.pk, bytes=-1)
    admit(client)


def test_usage_tells_stored_bytes(db: None) -> None:
    client = client_with()
    store(client, 10)
    assert usage_of(client).stored_bytes == 10


def test_usage_of_a_client_that_never_called_is_nothing(db: None) -> None:
    usage = usage_of(client_with())
    assert (usage.minute_used, usage.day_used, usage.open_executions) == (0, 0, 0)


def test_usage_of_a_past_day_is_nothing(db: None) -> None:
    client = client_with(max_runs_per_day=5)
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    ClientUsage.objects.create(client=client, second=1, recent=[1] * SECONDS, day=long_ago, day_used=3)
    usage = usage_of(client)
    assert (usage.minute_used, usage.day_used) == (0, 0)


# --- Through the service ---


def submit(client: Client, runtime: Runtime) -> Execution:
    request = services.Request(runtime=runtime, code="def main(): return 1", endpoint="test", client=client)
    return services.submit(request, policy="off")


@pytest.mark.parametrize("limit", (*RATES, "max_open_executions"))
def test_many_at_once_get_no_more_than_allowed(
    transactional_db: None, python_runtime: Runtime, limit: str
) -> None:
    client = client_with(**{limit: 5})

    def call(_: int) -> None:
        try:
            with suppress(OverLimit):
                submit(client, python_runtime)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(24)))
    assert Execution.objects.count() == OrmQ.objects.count() == 5


@pytest.mark.parametrize("limit", (*RATES, "max_open_executions"))
def test_refused_call_leaves_no_row(db: None, python_runtime: Runtime, limit: str) -> None:
    client = client_with(**{limit: 1})
    submit(client, python_runtime)
    with pytest.raises(OverLimit):
        submit(client, python_runtime)
    assert (Execution.objects.count(), OrmQ.objects.count()) == (1, 1)


def test_programs_that_the_code_policy_rejects_count(db: None, python_runtime: Runtime) -> None:
    client = client_with(max_runs_per_minute=1)
    request = services.Request(runtime=python_runtime, code="import os", endpoint="test", client=client)
    assert services.submit(request, policy="block").status == Status.REJECTED
    with pytest.raises(OverLimit):
        submit(client, python_runtime)


def test_fault_after_the_counting_undoes_it(db: None, python_runtime: Runtime, monkeypatch) -> None:
    client = client_with(max_runs_per_minute=1)
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(services, "enqueue", lambda execution: 1 / 0)
        submit(client, python_runtime)
    assert admission.usage_of(client).minute_used == 0
