"""Each shipped condition fires on real rows, and recovers when they change."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from alerts import shipped
from alerts.models import Alert, Rule
from audit import sealing
from audit.models import HeadDestination, SealingFailure, Verification
from audit.models.verifications import VerificationState
from clients.admission import admit
from clients.models import Client
from clients.storage import add_up
from console.models import JobRun
from executions.callbacks.models import Delivery, DeliveryStatus
from executions.failures.grouping import group_failures
from executions.failures.models import FailureGroup
from executions.models import Execution, Outcome, Status
from executions.models.execution import SELF_TEST
from inspections import separation
from inspections.models import Inspection, InspectionKind, InspectionState, InspectionVerdict
from runtimes.models import Runtime
from sandbox_platform.kit import conditions, liveness
from sandbox_platform.kit.notify import Listener
from sandbox_platform.kit.services import Service
from sandboxes import nodes
from sandboxes.models import Node, Sandbox, SandboxState
from seccomp_profiles import shipped as profiles
from seccomp_profiles.models import SeccompProfile
from tests.alerts.conftest import Later, evaluate, firing
from tests.sandboxes.stub_engine import StubEngine

MakeExecution = Callable[..., Execution]
Watch = Callable[..., Callable[[], list[str]]]


@pytest.fixture
def watch(db: None, later: Later) -> Watch:
    """Only this shipped rule, with other parameters if need be, and no waiting. Each call evaluates it."""

    def start(name: str, **parameters: Any) -> Callable[[], list[str]]:
        shipped.create_missing()
        Rule.objects.exclude(name=name).delete()
        rule = Rule.objects.get()
        rule.pending_ms = rule.recover_ms = 0
        rule.parameters |= parameters
        rule.save()
        condition = conditions.declared()[rule.condition]

        def fires() -> list[str]:
            later(minutes=1)
            assert evaluate(condition.evaluated_by) == 1
            rule.refresh_from_db()
            assert rule.state.error == ""
            return firing(rule)

        return fires

    return start


def test_every_condition_has_its_shipped_rules_in_this_file() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
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
    assert fires() == [f"failure {group.pk}"]
    alert = Alert.objects.get()
    assert alert.detail == "Exception of client ragflow on python: 3 runs."
    later(hours=1)
    assert fires() == []


def test_queue(watch: Watch, make_execution: MakeExecution) -> None:
    fires = watch("Queue too old", age_ms=300_000)
    waiting = make_execution(status=Status.QUEUED, outcome="")
    assert fires() == []
    waiting.queued_at = waiting.queued_at - timedelta(minutes=5)
    waiting.save(update_fields=["queued_at"])
    assert fires() == ["the queue"]
    Execution.objects.update(status=Status.CANCELLED, outcome=Outcome.CANCEL_REQUESTED, finished_at=timezone.now())
    assert fires() == []


def test_pool(watch: Watch, python_runtime: Runtime) -> None:
    fires = watch("Pool empty")
    Runtime.objects.update(pool_min=1)
    python_runtime.refresh_from_db()
    assert fires() == ["runtime python"]
    old = Sandbox.objects.create(
        node="n", runtime=python_runtime, runtime_revision=0, profile_sha256="", state=SandboxState.READY
    )
    assert fires() == ["runtime python"]
    Sandbox.objects.filter(pk=old.pk).update(runtime_revision=python_runtime.revision)
    assert fires() == []


@pytest.fixture
def node(db: None) -> str:
    nodes.record(StubEngine())
    return settings.SANDBOX_NODE


@pytest.fixture
def session(db: None) -> Iterator[Listener]:
    """A session of its own, which may hold what a process holds."""
    with Listener() as listener:
        yield listener


def test_keeper(watch: Watch, node: str, session: Listener) -> None:
    fires = watch("Keeper gone")
    assert fires() == [f"node {node}"]
    liveness.hold_keeper(session.connection, node)
    assert fires() == []
    session.connection.execute("SELECT pg_advisory_unlock_all()")
    assert fires() == [f"node {node}"]


def test_keeper_is_watched_by_the_callbacks_service_alone(watch: Watch, node: str) -> None:
    watch("Keeper gone")
    assert [evaluate(Service.KEEPER), evaluate(Service.CALLBACKS)] == [0, 1]


def test_node_that_was_taken_away_is_forgotten(watch: Watch, node: str) -> None:
    Node.objects.create(name="gone", seen_at=timezone.now())
    fires = watch("Keeper gone")
    assert "node gone" in fires()
    Node.objects.filter(name="gone").update(seen_at=timezone.now() - timedelta(days=8))
    nodes.record(StubEngine())
    assert fires() == [f"node {node}"]


def test_workers(watch: Watch, node: str, session: Listener) -> None:
    fires = watch("Workers gone")
    assert fires() == [f"node {node}"]
    liveness.hold_worker(session.connection, node)
    assert fires() == []


def test_disk(watch: Watch, node: str) -> None:
    fires = watch("Disk nearly full")
    Node.objects.update(disk_free_bytes=4 * 2**30, disk_total_bytes=10 * 2**30)
    assert fires() == [f"node {node}"]
    Node.objects.update(disk_free_bytes=6 * 2**30)
    assert fires() == []
    Node.objects.update(disk_total_bytes=1000 * 2**30)  # less than 5 %
    assert fires() == [f"node {node}"]


def test_disk_of_this_node_is_measured(node: str) -> None:
    row = Node.objects.get()
    assert row.disk_total_bytes and row.disk_free_bytes is not None
    assert 0 < row.disk_free_bytes < row.disk_total_bytes


def test_gvisor(watch: Watch, node: str) -> None:
    fires = watch("Known hole in gVisor")
    Node.objects.update(gvisor_version="release-20240101.0")
    assert fires() == [f"node {node}"]
    Node.objects.update(gvisor_version="release-20261101.0")
    assert fires() == []


def test_callbacks_service(watch: Watch, session: Listener) -> None:
    fires = watch("Callbacks service gone")
    assert fires() == ["the callbacks service"]
    liveness.hold_callbacks(session.connection)
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


def test_seal(watch: Watch, make_execution: MakeExecution, later: Later) -> None:
    fires = watch("Seal missing")
    sealing.seal()
    make_execution()
    assert fires() == []
    later(hours=2)
    assert fires() == ["the history"]
    sealing.seal()
    # Evaluating writes nothing that waits for a seal.
    assert fires() == []


def test_node_that_cannot_seal(watch: Watch) -> None:
    fires = watch("Seal missing")
    failure = SealingFailure.objects.create(node="n", at=timezone.now(), reason="no key")
    assert fires() == ["node n"]
    failure.delete()
    assert fires() == []


def test_verification(watch: Watch) -> None:
    fires = watch("Verification failed")
    now = timezone.now()

    def verify(first: int, last: int, state: str) -> None:
        Verification.objects.create(
            first=first, last=last, state=state, requested_by="user a", requested_at=now, progress_at=now,
            ended_at=now, finding_count=state == VerificationState.FINDINGS,
        )  # fmt: skip

    verify(2, 3, VerificationState.FINDINGS)
    assert fires() == ["seals 2 to 3"]
    verify(3, 9, VerificationState.OK)
    assert fires() == ["seals 2 to 3"]
    verify(1, 3, VerificationState.OK)
    assert fires() == []


def test_heads(watch: Watch) -> None:
    fires = watch("Heads of seals do not leave")
    row = HeadDestination.objects.create(name="webhook", attempts=3, error="refused")
    assert fires() == ["destination webhook"]
    row.attempts = 0
    row.save()
    assert fires() == []


def test_profile(watch: Watch, python_runtime: Runtime) -> None:
    fires = watch("Seccomp profile not enforced")
    profiles.create_missing()
    profile = SeccompProfile.objects.get(name="default")
    Runtime.objects.update(seccomp_profile=profile)
    python_runtime.refresh_from_db()

    def probe(verdict: InspectionVerdict) -> None:
        Inspection.objects.create(
            kind=InspectionKind.PROBE, state=InspectionState.DONE, verdict=verdict, revision=profile.active,
            runtime=python_runtime, runtime_revision=python_runtime.revision, finished_at=timezone.now(),
        )  # fmt: skip

    probe(InspectionVerdict.ENFORCED)
    assert fires() == []
    probe(InspectionVerdict.NOT_ENFORCED)
    assert fires() == ["profile default on runtime python"]
    probe(InspectionVerdict.ENFORCED)
    assert fires() == []


def test_separation(watch: Watch, make_execution: MakeExecution, later: Later) -> None:
    fires = watch("Runs see each other")
    tester = separation.client()

    def look(result: str) -> None:
        labels = {separation.PAIR: "1", separation.PART: separation.LOOK}
        make_execution(client=tester, endpoint=SELF_TEST, labels=labels, result=result)

    look("[]")
    assert fires() == []
    look('["/tmp/self-test-trace-1"]')
    assert fires() == ["separation of runs"]
    later(days=1)
    look("[]")
    assert fires() == []


def test_logins(watch: Watch, administrator: User, later: Later) -> None:
    fires = watch("Failed logins", number=3)
    browser, url = Browser(), reverse("admin:login")
    for _ in range(3):
        browser.post(url, {"username": "admin", "password": "a password by mistake"})
    assert AccessAttempt.objects.exists()
    assert fires() == ["address 127.0.0.1"]
    later(hours=1)
    assert fires() == []


def test_job(watch: Watch) -> None:
    fires = watch("Scheduled job fails")
    run = JobRun.objects.create(node="n", job="Purge", started_at=timezone.now(), error="OSError")
    assert fires() == ["job “Purge” on node n"]
    run.error = ""
    run.save()
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
