"""Who may read /metrics, and what it says."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from clients.models import Client
from executions.models import Execution, Status
from metrics import adding
from metrics.models import Tally
from runtimes.models import Runtime
from sandbox_platform.kit import metrics as declared
from sandboxes.models import Node, Sandbox, SandboxState
from tests.metrics.reading import TOKEN, parsed, scraped, value

pytestmark = pytest.mark.django_db
MakeExecution = Callable[..., Execution]
# Statements of a scrape, however much there is: about two for each room.
MOST_STATEMENTS = 40


@pytest.fixture(autouse=True)
def token(settings: Settings) -> Iterator[None]:
    settings.SANDBOX_METRICS_TOKEN = TOKEN
    yield


def ask(authorization: str = "", **options: Any) -> Any:
    headers = {"Authorization": authorization} if authorization else {}
    return Browser().get("/metrics", headers=headers, **options)


def test_it_is_closed_without_a_token_in_the_settings(settings: Settings) -> None:
    settings.SANDBOX_METRICS_TOKEN = ""
    answer = ask("Bearer ")
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (403, "metrics_closed")


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", TOKEN, "Bearer \u00fcber"],
)
def test_another_token_is_refused(authorization: str) -> None:
    answer = ask(authorization)
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")
    assert "sandbox_" not in answer.content.decode()


def test_a_clients_token_does_not_open_it(client_with_token: tuple[Client, str]) -> None:
    assert ask(f"Bearer {client_with_token[1]}").status_code == 401


def test_the_consoles_session_does_not_open_it(browser: Browser) -> None:
    assert browser.get("/metrics").status_code == 401


def test_only_reading_is_answered() -> None:
    answer = Browser().post("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD")


def test_prometheus_gets_the_format_that_it_asks_for() -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    answer = Browser().get("/metrics", headers={"Authorization": f"Bearer {TOKEN}", "Accept": accept})
    assert answer["Content-Type"].startswith("application/openmetrics-text")
    assert answer.content.endswith(b"# EOF\n")
    assert ask(f"Bearer {TOKEN}")["Content-Type"].startswith("text/plain")


def test_runs_are_named_by_runtime_and_role(make_execution: MakeExecution) -> None:
    make_execution()
    adding.add_up()
    labels = {"runtime": "python", "client": "none", "status": "succeeded", "outcome": "completed"}
    assert value(scraped(), "sandbox_runs_total", **labels) == 1


def test_a_histogram_adds_up_from_bucket_to_bucket(make_execution: MakeExecution) -> None:
    at = timezone.now()
    for seconds in (0.02, 0.2, 2.0, 7200.0):
        make_execution(queued_at=at, claimed_at=at + timedelta(seconds=seconds), finished_at=at)
    adding.add_up()
    samples = scraped()
    labels = {"runtime": "python", "phase": "queue"}
    found = [
        value(samples, "sandbox_phase_seconds_bucket", le=le, **labels)
        for le in ("0.025", "0.25", "3600.0", "+Inf")
    ]
    assert found == [1, 2, 3, 4]
    assert value(samples, "sandbox_phase_seconds_count", **labels) == 4
    assert value(samples, "sandbox_phase_seconds_sum", **labels) == pytest.approx(7202.22)


def test_a_deleted_runtime_vanishes(python_runtime: Runtime) -> None:
    Tally.objects.create(metric="claims_total", labels=[str(python_runtime.pk), "warm"], value=3)
    assert value(scraped(), "sandbox_claims_total", runtime="python", sandbox="warm") == 3
    python_runtime.delete()
    assert not [name for name, _ in scraped() if name == "sandbox_claims_total"]


def test_wanted_slots_are_what_waits_and_what_runs(make_execution: MakeExecution) -> None:
    make_execution()
    make_execution(status=Status.QUEUED)
    make_execution(status=Status.RUNNING, node="n1")
    make_execution(status=Status.RUNNING, node="n2")
    assert value(scraped(), "sandbox_wanted_slots") == 3


def test_slots_are_those_of_the_nodes_and_not_of_a_web_beside_them(settings: Settings) -> None:
    settings.SANDBOX_NODE, settings.SANDBOX_WORKERS = "web", 8
    assert value(scraped(), "sandbox_worker_slots", node="web") == 8
    Node.objects.create(name="n1", seen_at=timezone.now(), workers=4)
    samples = scraped()
    assert value(samples, "sandbox_worker_slots", node="n1") == 4
    assert value(samples, "sandbox_worker_slots", node="web") is None


def test_the_queue_and_the_pool(make_execution: MakeExecution, python_runtime: Runtime) -> None:
    make_execution(status=Status.QUEUED, queued_at=timezone.now() - timedelta(minutes=2))
    make_execution(status=Status.RUNNING, node="n1")
    for _ in range(2):
        Sandbox.objects.create(node="n1", runtime=python_runtime, runtime_revision=1, state=SandboxState.READY)
    samples = scraped()
    assert value(samples, "sandbox_queue_depth") == 1
    assert 119 < (value(samples, "sandbox_queue_oldest_age_seconds") or 0) < 180
    assert value(samples, "sandbox_running", node="n1") == 1
    assert value(samples, "sandbox_pool", node="n1", runtime="python", state="ready") == 2
    assert value(samples, "sandbox_keeper_up", node="n1") is None


def test_an_empty_pool_is_zero_and_not_missing(python_runtime: Runtime) -> None:
    Node.objects.create(name="n1", seen_at=timezone.now())
    samples = scraped()
    for state in ("starting", "ready", "claimed", "used"):
        assert value(samples, "sandbox_pool", node="n1", runtime="python", state=state) == 0
    Runtime.objects.update(enabled=False)
    assert value(scraped(), "sandbox_pool", node="n1", runtime="python", state="ready") is None


def test_a_node_without_its_keeper_is_down() -> None:
    Node.objects.create(
        name="n1", seen_at=timezone.now(), disk_free_bytes=5, disk_total_bytes=10, gvisor_version="20260101.0"
    )
    samples = scraped()
    assert (value(samples, "sandbox_keeper_up", node="n1"), value(samples, "sandbox_worker_up", node="n1")) == (
        0,
        0,
    )
    assert value(samples, "sandbox_gvisor_info", node="n1", version="20260101.0") == 1


def test_no_label_names_a_client_an_execution_or_an_address() -> None:
    named = {label for reading in declared.declared() for figure in reading.figures for label in figure.labels}
    named |= {label for metric in (*adding.COUNTERS, *adding.HISTOGRAMS) for label in adding.labels_of(metric)}
    bounded = {
        "answer", "client", "code", "destination", "door", "engine", "job", "kind", "node", "outcome", "phase", "queue",
        "result", "runtime", "sandbox", "severity", "state", "status", "version",
    }  # fmt: skip
    assert named <= bounded


def test_every_name_has_the_prefix_and_every_counter_its_ending() -> None:
    names = [figure.name for reading in declared.declared() for figure in reading.figures]
    assert len(names) == len(set(names))
    for reading in declared.declared():
        for figure in reading.figures:
            assert figure.name.endswith("_total") == (figure.kind == declared.Kind.COUNTER), figure.name
    assert {name.partition("_")[0] for name, _ in scraped()} == {"sandbox"}


def test_a_scrape_makes_few_statements_however_much_there_is(make_execution: MakeExecution) -> None:
    for number in range(30):
        make_execution(status=Status.QUEUED)
        Tally.objects.create(metric="refusals_total", labels=[f"kind{number}"], value=1)
    with CaptureQueriesContext(
        connection,
    ) as statements:
        scraped()
    assert len(statements) < MOST_STATEMENTS


def test_no_scrape_reads_the_ended_executions(make_execution: MakeExecution) -> None:
    """Each statement about executions is about the open ones, for which there is an index."""
    make_execution()
    with CaptureQueriesContext(connection) as statements:
        scraped()
    about = [each["sql"] for each in statements if 'FROM "executions_execution"' in each["sql"]]
    assert about
    assert all("'queued'" in sql or "'running'" in sql for sql in about)


def test_it_is_parsed_whole() -> None:
    text = ask(f"Bearer {TOKEN}").content.decode()
    samples = parsed(text)
    assert value(samples, "sandbox_scrape_seconds") is not None
    assert time.time() > 0
