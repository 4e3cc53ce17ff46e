"""A real Prometheus and a receiver of traces watch a running platform, whose services have their roles in Postgres."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.deploy.prometheus import NAME, Prometheus, known, queries, running
from tests.live import TOKEN, Platform, eventually
from tests.sandbox_platform.kit.test_tracing import Receiver

pytestmark = pytest.mark.needs_docker
METRICS_TOKEN = "of-prometheus-in-live-tests"
REQUEST_ID = "mine-0123456789"
# What does not happen here.
NOTHING = {
    "sandbox_refusals_total", "sandbox_callback_attempts_total", "sandbox_callbacks_total",
    "sandbox_alert_messages_total", "sandbox_callback_seconds_bucket",
}  # fmt: skip
CODE = "def main():\n    print('hunter2')\n    return 'hunter2'\n"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Platform]:
    platform = Platform(
        tmp_path_factory.mktemp("watched"), roles=True, SANDBOX_METRICS_TOKEN=METRICS_TOKEN,
        SANDBOX_LOG_FORMAT="json", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_BSP_SCHEDULE_DELAY="200",
    )  # fmt: skip
    try:
        platform.start("python")
        platform.spawn("callbacks")
        yield platform
    finally:
        platform.stop()


@pytest.fixture(scope="module")
def prometheus(watched: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    with running(folder, port=watched.port, token=METRICS_TOKEN) as one:
        yield one


@pytest.fixture(scope="module")
def execution(watched: Platform, prometheus: Prometheus) -> dict[str, Any]:
    """One execution by the API, with an id of the caller's own."""
    answer = requests.post(
        f"{watched.url}/api/v1/executions",
        json={"runtime": "python", "code": CODE, "wait": 60},
        headers={"Authorization": f"Bearer {TOKEN}", "X-Request-Id": REQUEST_ID},
        timeout=90,
    )
    assert answer.status_code == 201, answer.text
    assert answer.headers["X-Request-Id"] == REQUEST_ID
    return dict(answer.json())


def test_prometheus_scrapes_the_platform(prometheus: Prometheus) -> None:
    eventually(lambda: prometheus.value('up{job="sandbox-platform"}') == 1, "the target is up")
    assert prometheus.value("sandbox_keeper_up") == prometheus.value("sandbox_worker_up") == 1


def test_another_token_is_refused(watched: Platform) -> None:
    for headers in ({}, {"Authorization": f"Bearer {TOKEN}"}):
        assert requests.get(f"{watched.url}/metrics", headers=headers, timeout=30).status_code == 401


def test_a_run_is_counted_with_its_phases(execution: dict[str, Any], prometheus: Prometheus) -> None:
    counted = 'sandbox_runs_total{runtime="python", client="caller", status="succeeded", outcome="completed"}'
    eventually(lambda: prometheus.value(counted) == 1, "the run is counted")
    for phase in ("queue", "claim", "attach", "run", "store"):
        assert prometheus.value(f'sandbox_phase_seconds_count{{phase="{phase}"}}') == 1
    assert prometheus.value('sum(sandbox_starts_total{result="ready"})')
    eventually(lambda: prometheus.value('sandbox_http_requests_total{door="api", code="2xx"}') == 1, "the answer")


def test_prometheus_knows_every_figure(execution: dict[str, Any], prometheus: Prometheus) -> None:
    def names() -> set[str]:
        return set(prometheus.get("metadata"))

    # Of a histogram and, in the text format, of a counter, Prometheus has the name without its ending.
    for name in known():
        base = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        eventually(lambda base=base: {base, base.removesuffix("_total")} & names(), f"metadata of {base}")


@pytest.mark.parametrize(("title", "expression"), list(queries()))
def test_each_query_of_the_dashboard_is_answered(
    title: str, expression: str, execution: dict[str, Any], prometheus: Prometheus
) -> None:
    if set(NAME.findall(expression)) <= NOTHING or "== 1" in expression or "platform_error" in expression:
        prometheus.query(expression)  # which asserts that there is no error
    else:
        eventually(lambda: prometheus.query(expression), title, 90)


def test_the_rules_are_evaluated_without_errors(prometheus: Prometheus) -> None:
    def rules() -> list[dict[str, Any]]:
        return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]

    eventually(lambda: rules() and all(rule["health"] == "ok" for rule in rules()), "all rules are evaluated")
    assert not [
        rule["name"] for rule in rules() if rule["state"] == "firing" and rule["name"] != "SandboxPoolEmpty"
    ]


def test_spans_lead_from_the_request_to_the_store(execution: dict[str, Any], receiver: Receiver) -> None:
    def mine() -> dict[str, Any]:
        ids = {"sandbox.request_id": REQUEST_ID}
        requested = [
            s for s in receiver.spans if attributes(s).items() >= ids.items() and s.name.startswith("POST")
        ]
        trace = requested[0].trace_id if requested else b""
        return {span.name: span for span in receiver.spans if span.trace_id == trace}

    wanted = {"POST /api/v1/executions", "execution", "queue", "claim", "run", "store"}
    eventually(lambda: mine().keys() >= wanted, f"the spans {wanted}")
    spans = mine()
    assert spans["execution"].parent_span_id == spans["POST /api/v1/executions"].span_id
    assert {spans[name].parent_span_id for name in ("queue", "claim", "run", "store")} == {
        spans["execution"].span_id
    }
    assert attributes(spans["execution"])["sandbox.execution_id"] == execution["id"]
    assert attributes(spans["run"])["sandbox.sandbox_id"] == execution["sandbox_id"]
    assert attributes(spans["store"])["sandbox.outcome"] == "completed"


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def test_the_logs_of_web_and_worker_have_the_id_and_no_program(
    execution: dict[str, Any], watched: Platform
) -> None:
    def told(service: str) -> list[dict[str, Any]]:
        lines = (watched.folder / f"{service}.log").read_text().splitlines()
        parsed = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in parsed if line.get("request_id") == REQUEST_ID]

    (web,) = eventually(lambda: told("web"), "the web's line")
    (worker,) = eventually(lambda: told("worker"), "the worker's line")
    assert (web["service"], web["message"]) == ("web", "POST /api/v1/executions 201")
    assert (worker["execution_id"], worker["sandbox_id"]) == (execution["id"], execution["sandbox_id"])
    assert worker["trace_id"] == web["trace_id"]
    for service in ("web", "worker", "keeper", "callbacks"):
        assert "hunter2" not in (watched.folder / f"{service}.log").read_text()


def test_every_line_of_the_services_is_json(execution: dict[str, Any], watched: Platform) -> None:
    for service in ("web", "worker", "keeper", "callbacks"):
        for line in (watched.folder / f"{service}.log").read_text().splitlines():
            assert json.loads(line)["level"], line


def test_no_service_lacks_a_right_in_the_database(execution: dict[str, Any], watched: Platform) -> None:
    assert "permission denied" not in watched.postgres.log.read_text(errors="replace")


def test_a_dead_keeper_is_seen(execution: dict[str, Any], watched: Platform, prometheus: Prometheus) -> None:
    """Last: nothing keeps the pool afterwards."""
    watched.kill("keeper")
    eventually(lambda: prometheus.value("sandbox_keeper_up") == 0, "the keeper is down")
    pending = 'ALERTS{alertname="SandboxKeeperDown"}'
    eventually(lambda: prometheus.query(pending), "the alert is pending")
