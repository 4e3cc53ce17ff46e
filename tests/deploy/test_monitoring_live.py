"""A real Prometheus and a receiver of traces watch a running platform, whose services have their roles in Postgres."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from tests.deploy.prometheus import Prometheus, known, queries, running
from tests.live import TOKEN, Platform, eventually
from tests.sandbox_platform.kit.test_tracing import Receiver

pytestmark = pytest.mark.needs_docker
METRICS_TOKEN = "of-prometheus-in-live-tests"
REQUEST_ID = "mine-0123456789"
CODE = "def main():\n    print('hunter2')\n    return 'hunter2'\n"
SLEEP = "import time\ntime.sleep(60)\n"
# As the trigger for attempts to send a message reports one.
MESSAGE = "INSERT INTO metrics_event (name, labels, amounts) VALUES ('message', ARRAY['sent'], '{}')"
# Nothing is to be seen where all is well.
WELL = " == 1"
# Workers make builds here: there is no builder to tell of.
ABSENT = {"sandbox_builder_up"}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Platform]:
    platform = Platform(
        tmp_path_factory.mktemp("watched"), roles=True, SANDBOX_METRICS_TOKEN=METRICS_TOKEN,
        SANDBOX_LOG_FORMAT="json", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_BSP_SCHEDULE_DELAY="200",
        SANDBOX_CALLBACK_NETWORKS="127.0.0.0/8",
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


@contextmanager
def callback_receiver() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def submit(platform: Platform, request_id: str = "", **body: Any) -> requests.Response:
    return requests.post(
        f"{platform.url}/api/v1/executions",
        json={"runtime": "python", "code": CODE} | body,
        headers={"Authorization": f"Bearer {TOKEN}"} | ({"X-Request-Id": request_id} if request_id else {}),
        timeout=90,
    )


@pytest.fixture(scope="module")
def execution(watched: Platform, prometheus: Prometheus) -> dict[str, Any]:
    """One execution by the API, with an id of the caller's own."""
    answer = submit(watched, REQUEST_ID, wait=60)
    assert answer.status_code == 201, answer.text
    assert answer.headers["X-Request-Id"] == REQUEST_ID
    return dict(answer.json())


@pytest.fixture(scope="module")
def told(execution: dict[str, Any], watched: Platform) -> dict[str, Any]:
    """An execution with a callback, which came."""
    with callback_receiver() as url:
        answer = submit(watched, wait=60, callback_url=url)
        assert answer.status_code == 201, answer.text
        delivered = "SELECT 1 FROM executions_delivery WHERE status = 'delivered'"
        eventually(lambda: watched.sql(delivered), "the callback came")
    return dict(answer.json())


@pytest.fixture(scope="module")
def eventful(told: dict[str, Any], watched: Platform) -> None:
    """Something has happened for each panel: a callback, a refusal, a failure of the platform, a message."""
    lost = submit(watched, code=SLEEP).json()["id"]
    sandbox = "SELECT container_id FROM executions_sandbox WHERE execution_id = %s AND container_id <> ''"
    ended = "SELECT status FROM executions_execution WHERE id = %s AND finished_at IS NOT NULL"

    def killed() -> Any:
        # One that dies before the job comes is replaced by another.
        for row in watched.sql(sandbox, lost):
            watched.kill_sandbox(row["container_id"])
        return watched.sql(ended, lost)

    assert eventually(killed, "it is lost") == [{"status": "platform_error"}]
    watched.sql("UPDATE executions_client SET max_runs_per_day = 1")
    try:
        eventually(lambda: submit(watched).status_code == 429, "a request is refused")
    finally:
        watched.sql("UPDATE executions_client SET max_runs_per_day = NULL")
    watched.sql(MESSAGE)


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


@pytest.mark.parametrize(("title", "expression"), [pair for pair in queries() if pair[1] not in ABSENT])
def test_each_query_of_the_dashboard_is_answered(
    title: str, expression: str, eventful: None, prometheus: Prometheus
) -> None:
    eventually(lambda: prometheus.query(expression.removesuffix(WELL)), title, 90)


def test_no_job_fails(eventful: None, prometheus: Prometheus) -> None:
    assert prometheus.query("sandbox_job_failing == 1") == []


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


def test_the_run_is_linked_to_the_start_of_its_warm_sandbox(execution: dict[str, Any], receiver: Receiver) -> None:
    def started() -> Any:
        mine = {"sandbox.sandbox_id": execution["sandbox_id"], "sandbox.runtime": "python"}
        return [s for s in receiver.spans if s.name == "start" and attributes(s).items() >= mine.items()]

    def claims() -> list[Any]:
        runs = [s for s in receiver.spans if attributes(s).get("sandbox.execution_id") == execution["id"]]
        return [s for s in receiver.spans if s.name == "claim" and s.parent_span_id in {r.span_id for r in runs}]

    (start,) = eventually(started, "the keeper's span of the start")
    (claim,) = eventually(claims, "the worker's span of the claim")
    assert [(link.trace_id, link.span_id) for link in claim.links] == [(start.trace_id, start.span_id)]
    below = {s.name for s in receiver.spans if s.parent_span_id == start.span_id}
    assert below == {"create", "boot"}
    assert [s.name for s in receiver.spans if s.span_id == start.parent_span_id] == ["refill"]


def test_the_callback_is_in_the_trace_of_its_request(told: dict[str, Any], receiver: Receiver) -> None:
    def callbacks() -> list[Any]:
        mine = {"sandbox.execution_id": told["id"]}
        return [s for s in receiver.spans if s.name == "callback" and attributes(s).items() >= mine.items()]

    def requested() -> list[Any]:
        return [s for s in receiver.spans if s.span_id == callback.parent_span_id]

    (callback,) = eventually(callbacks, "the span of the attempt")
    assert attributes(callback) == {
        "sandbox.execution_id": told["id"],
        "sandbox.request_id": told["request_id"],
        "sandbox.attempt": 1,
        "sandbox.delivery": "delivered",
        "http.response.status_code": 204,
    }
    (request,) = eventually(requested, "the span of the request")
    assert (request.name, request.trace_id) == ("POST /api/v1/executions", callback.trace_id)


def test_no_span_has_a_program_or_an_address(told: dict[str, Any], receiver: Receiver) -> None:
    spans = str(receiver.spans)
    assert "hunter2" not in spans
    assert "127.0.0.1" not in spans


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
