import pytest
from django.db import connection
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from clients.admission import RuntimeNotAllowed
from clients.models import Client
from executions import services, submission
from executions.limits import LimitTooHigh
from executions.models import Execution
from runtimes.models import Runtime
from sandbox_platform.kit.broker import NOBODY
from tests.tasks import queued


def submit(runtime: Runtime, client: Client | None, **fields: object) -> Execution:
    request = services.Request(
        runtime=runtime, code="def main(): return 1", endpoint="test", client=client, **fields
    )
    return services.submit(request, policy="off")


def client_of_the_queued_task() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT client_id FROM django_q_ormq")
        (row,) = cursor.fetchall()
    return int(row[0])


def test_task_is_queued_in_its_clients_name(python_runtime: Runtime) -> None:
    client = Client.objects.create(name="dify")
    execution = submit(python_runtime, client)
    assert client_of_the_queued_task() == client.pk
    assert queued() == [(services.RUN, (str(execution.pk),))]


def test_task_of_a_caller_without_a_token_is_nobodys(python_runtime: Runtime) -> None:
    submit(python_runtime, None)
    assert client_of_the_queued_task() == NOBODY


def test_clients_cap_is_the_executions_limit(python_runtime: Runtime) -> None:
    client = Client.objects.create(name="dify", max_wall_time_ms=500)
    assert submit(python_runtime, client).limits["wall_time_ms"] == 500


def test_requested_limit_is_the_executions(python_runtime: Runtime) -> None:
    assert submit(python_runtime, None, limits={"wall_time_ms": 300}).limits["wall_time_ms"] == 300


def test_limit_above_the_cap_leaves_no_row(python_runtime: Runtime) -> None:
    with pytest.raises(LimitTooHigh):
        submit(python_runtime, None, limits={"wall_time_ms": 10**9})
    assert not Execution.objects.exists()


def test_runtime_that_is_not_allowed_leaves_no_row(python_runtime: Runtime) -> None:
    client = Client.objects.create(name="dify", allowed_runtimes=["nodejs"])
    with pytest.raises(RuntimeNotAllowed, match="may not use the runtime python, only nodejs"):
        submit(python_runtime, client)
    assert not Execution.objects.exists()


@pytest.mark.parametrize("allowed", [[], ["python"], ["nodejs", "python"]])
def test_allowed_runtime_is_accepted(python_runtime: Runtime, allowed: list[str]) -> None:
    client = Client.objects.create(name="dify", allowed_runtimes=allowed)
    assert submit(python_runtime, client).pk


def test_what_waits_holds_nothing_large() -> None:
    large = "x" * 100_000
    texts = ("code", "arguments", "stdin", "stdout", "stderr", "result")
    execution = Execution(**dict.fromkeys(texts, large), argv=[large], variables={"A": large})
    submission.forget(Request(APIRequestFactory().post("/", {})), execution)
    assert large not in repr(vars(execution))
