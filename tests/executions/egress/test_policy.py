from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import pytest
from django.conf import settings

from clients.models import Client
from clients.network import network_of
from executions.egress.models import EgressRequest, EgressRule, Refusal
from executions.egress.policy import CompletedRequest, ProxyRequest, bytes_of, complete, decide, settle
from executions.models import Execution, Status
from runtimes.models import Network, Runtime

MakeExecution = Callable[..., Execution]
HOST = "example.com"


@pytest.fixture
def client_row(python_runtime: Runtime) -> Client:
    """Both have egress."""
    python_runtime.network = Network.EGRESS
    python_runtime.save()
    return Client.objects.create(name="agent", network=Network.EGRESS)


@pytest.fixture
def execution(make_execution: MakeExecution, client_row: Client) -> Execution:
    """Its program runs."""
    return make_execution(client=client_row, status=Status.RUNNING, network=Network.EGRESS)


@pytest.fixture
def rule(db: None) -> EgressRule:
    return EgressRule.objects.create(domain=HOST)


def ask(execution: Execution, host: str = HOST, port: str = "443", method: str = "CONNECT") -> str:
    """Why it is refused."""
    row = decide(ProxyRequest.of(execution.pk, method, host, port))
    assert row
    return row.reason


@pytest.mark.parametrize("runtime", Network)
@pytest.mark.parametrize("client", Network)
def test_egress_takes_both(runtime: str, client: str) -> None:
    both = runtime == client == Network.EGRESS
    expected = Network.EGRESS if both else Network.NONE
    assert network_of(Runtime(network=runtime), Client(network=client)) == expected


def test_a_caller_without_token_has_none() -> None:
    assert network_of(Runtime(network=Network.EGRESS), None) == Network.NONE


def test_a_rule_allows(execution: Execution, rule: EgressRule) -> None:
    assert ask(execution) == ""


def test_without_a_rule_nothing_is_allowed(execution: Execution) -> None:
    assert ask(execution) == Refusal.NOT_ALLOWED


@pytest.mark.parametrize("host", ["EXAMPLE.com", "example.com."])
def test_spelling_of_a_host_makes_no_difference(execution: Execution, rule: EgressRule, host: str) -> None:
    assert ask(execution, host) == ""


@pytest.mark.parametrize(
    "host", ["a.example.com", "xexample.com", "example.com.evil.net", "example.com..", "", "..", "1.1.1.1"]
)
def test_another_host_is_refused(execution: Execution, rule: EgressRule, host: str) -> None:
    assert ask(execution, host) == Refusal.NOT_ALLOWED


@pytest.mark.parametrize(
    ("host", "reason"), [("a.b.example.com", ""), (HOST, ""), ("xexample.com", "not_allowed")]
)
def test_a_leading_dot_is_all_below(execution: Execution, host: str, reason: str) -> None:
    EgressRule.objects.create(domain=f".{HOST}")
    assert ask(execution, host) == reason


def test_a_rule_that_is_off_allows_nothing(execution: Execution, rule: EgressRule) -> None:
    EgressRule.objects.update(enabled=False)
    assert ask(execution) == Refusal.NOT_ALLOWED


def test_a_rule_of_another_runtime_or_client_allows_nothing(execution: Execution) -> None:
    other = Runtime.objects.create(slug="other", name="Other", image="i", source_file="f")
    EgressRule.objects.create(domain=HOST, runtime=other)
    EgressRule.objects.create(domain=HOST, client=Client.objects.create(name="other"))
    assert ask(execution) == Refusal.NOT_ALLOWED


def test_a_rule_of_its_own_runtime_and_client_allows(execution: Execution) -> None:
    EgressRule.objects.create(domain=HOST, runtime=execution.runtime, client=execution.client)
    assert ask(execution) == ""


@pytest.mark.parametrize("port", ["22", "8080", "0", "-1", "99999", "443x", "٤٤٣"])
def test_other_ports_are_refused(execution: Execution, rule: EgressRule, port: str) -> None:
    assert ask(execution, port=port) == Refusal.PORT


@pytest.mark.parametrize("status", [Status.QUEUED, Status.SUCCEEDED])
def test_a_program_that_does_not_run_gets_nothing(
    make_execution: MakeExecution, client_row: Client, rule: EgressRule, status: Status
) -> None:
    assert ask(make_execution(client=client_row, status=status, network=Network.EGRESS)) == Refusal.NO_EGRESS


def test_a_run_without_egress_gets_nothing(
    make_execution: MakeExecution, client_row: Client, rule: EgressRule
) -> None:
    assert ask(make_execution(client=client_row, status=Status.RUNNING)) == Refusal.NO_EGRESS


@pytest.mark.parametrize("model", [Client, Runtime])
def test_egress_taken_away_stops_the_next_request(
    execution: Execution, rule: EgressRule, model: type[Client] | type[Runtime]
) -> None:
    model.objects.update(network=Network.NONE)
    assert ask(execution) == Refusal.NO_EGRESS


def test_nobody_s_request_is_refused_without_a_row(rule: EgressRule) -> None:
    assert decide(ProxyRequest.of(uuid4(), "GET", HOST, "80")) is None
    assert not EgressRequest.objects.exists()


def test_one_run_makes_only_so_many_requests(execution: Execution, rule: EgressRule) -> None:
    asked = ProxyRequest.of(execution.pk, "GET", HOST, "80")
    rows = [decide(asked, settings.SANDBOX_EGRESS_REQUESTS + more) for more in (-1, 0, 1)]
    assert [row and row.reason for row in rows] == ["", Refusal.LIMIT, None]


def test_what_is_written_fits_and_shows(execution: Execution) -> None:
    decide(ProxyRequest.of(execution.pk, "M" * 99, "h\x1b[1m" * 200, "80"))
    row = EgressRequest.objects.get()
    assert (len(row.method), len(row.host), "\x1b" in row.host) == (20, 255, False)


# --- The end of a request ---


@pytest.fixture
def ended(execution: Execution, rule: EgressRule) -> CompletedRequest:
    row = decide(ProxyRequest.of(execution.pk, "GET", HOST, "80"))
    assert row
    return CompletedRequest(
        ProxyRequest.of(execution.pk, "GET", HOST, "80"), row.pk, False, "", 200, "192.0.2.7", 10, 20
    )


def test_end_completes_the_row(ended: CompletedRequest) -> None:
    assert complete(ended)
    row = EgressRequest.objects.get()
    assert (row.status, row.address, row.bytes_sent, row.bytes_received) == (200, "192.0.2.7", 10, 20)
    assert row.ended_at


def test_end_comes_once(ended: CompletedRequest) -> None:
    complete(ended)
    assert not complete(replace(ended, status=500))
    assert EgressRequest.objects.get().status == 200


def test_what_the_proxy_refused_is_no_allowed_request(ended: CompletedRequest) -> None:
    complete(replace(ended, denied=True, reason="address", status=403))
    row = EgressRequest.objects.get()
    assert (row.allowed, row.reason, row.status) == (False, Refusal.ADDRESS, 403)


def test_end_of_another_execution_s_request_completes_nothing(
    ended: CompletedRequest, make_execution: MakeExecution
) -> None:
    other = make_execution(status=Status.RUNNING)
    assert not complete(replace(ended, request=replace(ended.request, execution_id=other.pk)))
    assert EgressRequest.objects.get().ended_at is None


@pytest.mark.parametrize(("reason", "recorded"), [("port", "port"), ("", "malformed"), ("nonsense", "malformed")])
def test_what_was_refused_before_anybody_was_asked_gets_a_row(
    ended: CompletedRequest, reason: str, recorded: str
) -> None:
    complete(replace(ended, request_id=None, denied=True, reason=reason, status=400))
    row = EgressRequest.objects.latest("id")
    assert (row.allowed, row.reason, row.status) == (False, recorded, 400)


def test_who_has_spent_its_bytes_is_refused(execution: Execution, rule: EgressRule) -> None:
    row = decide(ProxyRequest.of(execution.pk, "CONNECT", HOST, "443"), spent=True)
    assert row and (row.allowed, row.reason) == (False, Refusal.BYTES)


def test_request_that_the_byte_limit_ended_says_so(ended: CompletedRequest) -> None:
    complete(ended, spent=True)
    row = EgressRequest.objects.get()
    assert (row.allowed, row.cut) == (True, True)


def test_refused_request_was_not_cut(ended: CompletedRequest) -> None:
    complete(replace(ended, denied=True, reason="address"), spent=True)
    assert EgressRequest.objects.get().cut is False


def test_bytes_of_a_run_are_those_of_its_ended_requests(ended: CompletedRequest) -> None:
    execution_id = ended.request.execution_id
    assert bytes_of(execution_id) == 0
    complete(ended)
    assert bytes_of(execution_id) == (ended.bytes_sent or 0) + (ended.bytes_received or 0) > 0


def test_nobody_s_end_is_not_recorded(ended: CompletedRequest) -> None:
    assert not complete(replace(ended, request_id=None, request=ProxyRequest.of(uuid4(), "GET", HOST, "80")))


# --- What a run begins with ---


def test_a_run_records_its_rules(execution: Execution, rule: EgressRule) -> None:
    settle(execution)
    execution.refresh_from_db()
    assert execution.network == Network.EGRESS
    assert execution.egress_rules == [{"domain": HOST, "runtime": None, "client": None}]


def test_a_run_without_egress_costs_no_query(
    make_execution: MakeExecution, django_assert_num_queries: Callable[[int], object]
) -> None:
    execution = Execution.objects.select_related("runtime", "client").get(pk=make_execution().pk)
    with django_assert_num_queries(0):  # type: ignore[attr-defined]
        settle(execution)


def test_a_run_gets_no_more_than_at_its_submission(execution: Execution) -> None:
    Execution.objects.update(network=Network.NONE)
    execution.refresh_from_db()
    settle(execution)
    assert execution.network == Network.NONE


def test_egress_lost_while_it_waited_is_lost(execution: Execution) -> None:
    Client.objects.update(network=Network.NONE)
    fresh = Execution.objects.get(pk=execution.pk)
    settle(fresh)
    fresh.refresh_from_db()
    assert fresh.network == Network.NONE
