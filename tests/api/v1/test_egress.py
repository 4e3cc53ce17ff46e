from collections.abc import Callable

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from clients.models import Client
from executions.egress.models import EgressRequest
from executions.models import Execution
from runtimes.models import Network, Runner, Runtime
from tests.api.v1.conftest import API

MakeExecution = Callable[..., Execution]


@pytest.fixture
def execution(make_execution: MakeExecution, client_row: Client) -> Execution:
    """It asked for one host that it was given, and one that it was not."""
    execution = make_execution(client=client_row, network=Network.EGRESS)
    for host, reason in (("example.com", ""), ("evil.example", "not_allowed")):
        EgressRequest.objects.create(
            execution=execution,
            at=timezone.now(),
            method="GET",
            host=host,
            port=80,
            allowed=not reason,
            reason=reason,
        )
    return execution


def test_execution_counts_its_requests(api: APIClient, execution: Execution) -> None:
    EgressRequest.objects.filter(allowed=True).update(
        ended_at=timezone.now(), bytes_sent=10, bytes_received=20, cut=True
    )
    answer = api.get(f"{API}/executions/{execution.pk}").json()
    counts = {"requests": 2, "refused": 1, "cut": 1, "bytes_sent": 10, "bytes_received": 20}
    assert (answer["network"], answer["egress"]) == ("egress", counts)
    assert api.get(f"{API}/executions/{execution.pk}/requests").json()[0]["cut"] is True


def test_execution_that_could_make_none_says_so(
    api: APIClient, make_execution: MakeExecution, client_row: Client
) -> None:
    execution = make_execution(client=client_row)
    assert api.get(f"{API}/executions/{execution.pk}").json()["egress"] is None
    assert api.get(f"{API}/executions/{execution.pk}/requests").json() == []


def test_requests_are_listed_in_their_order(api: APIClient, execution: Execution) -> None:
    listed = api.get(f"{API}/executions/{execution.pk}/requests").json()
    assert [(row["host"], row["allowed"], row["reason"]) for row in listed] == [
        ("example.com", True, ""), ("evil.example", False, "not_allowed"),
    ]  # fmt: skip


def test_requests_of_others_are_not_shown(stranger: APIClient, execution: Execution) -> None:
    assert stranger.get(f"{API}/executions/{execution.pk}/requests").status_code == 404


def test_network_is_among_what_is_exported(api: APIClient, execution: Execution) -> None:
    lines = b"".join(api.get(f"{API}/executions/export?format=jsonl").streaming_content)  # type: ignore[attr-defined]
    assert b'"network": "egress"' in lines or b'"network":"egress"' in lines


def test_caller_is_told_whether_it_has_egress(api: APIClient, client_row: Client) -> None:
    assert api.get(f"{API}/me").json()["network"] == "none"
    Client.objects.update(network=Network.EGRESS)
    assert api.get(f"{API}/me").json()["network"] == "egress"


def test_administrator_gives_a_runtime_egress(root: APIClient, python_runtime: Runtime) -> None:
    answer = root.patch(f"{API}/runtimes/python", {"network": "egress"}, format="json")
    assert (answer.status_code, answer.json()["network"]) == (200, "egress")


def test_runtime_without_a_runner_in_its_image_has_none(root: APIClient, python_runtime: Runtime) -> None:
    Runtime.objects.update(runner=Runner.SHELL, run_command="awk -f {source}", modes=["script"])
    answer = root.patch(f"{API}/runtimes/python", {"network": "egress"}, format="json")
    assert (answer.status_code, answer.json()["field"]) == (422, "network")
    assert "cannot have egress" in answer.json()["detail"]
