"""Each shipped condition of nodes, services, the trail and logins fires on real rows, and recovers when they change."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from alerts.models import Alert
from audit import sealing
from audit.models import HeadDestination, SealingFailure, Verification
from audit.models.verifications import VerificationState
from builds.models import BuildKind, BuildState, RuntimeBuild
from console.models import JobRun
from executions.models import Execution
from executions.models.execution import SELF_TEST
from inspections import separation
from inspections.models import Inspection, InspectionKind, InspectionState, InspectionVerdict
from runtimes.models import Runtime
from sandbox_platform.kit import liveness
from sandbox_platform.kit.notify import Listener
from sandbox_platform.kit.services import Service
from sandboxes import nodes
from sandboxes.models import Node, Sandbox, SandboxState
from seccomp_profiles import shipped as profiles
from seccomp_profiles.models import SeccompProfile
from tests.alerts.conftest import Later, Watch, evaluate
from tests.sandboxes.stub_engine import StubEngine

MakeExecution = Callable[..., Execution]


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


@pytest.fixture
def with_builder(settings: Settings) -> None:
    settings.SANDBOX_BUILDER, settings.SANDBOX_IMAGE_SOURCE = "buildah", "registry"
    settings.SANDBOX_IMAGE_REGISTRY = "registry.example/sandbox"


def test_builder(watch: Watch, with_builder: None, session: Listener) -> None:
    fires = watch("Builder gone")
    assert fires() == ["the builder"]
    liveness.hold_builder(session.connection)
    assert fires() == []


def test_alert_about_the_builder_counts_the_builds_that_wait(
    watch: Watch, with_builder: None, python_runtime: Runtime
) -> None:
    fires = watch("Builder gone")
    for number, state in enumerate([BuildState.QUEUED, BuildState.FAILED]):
        RuntimeBuild.objects.create(
            runtime=python_runtime, number=number, kind=BuildKind.PACKAGES, base=python_runtime.image, state=state
        )
    assert fires() == ["the builder"]
    assert Alert.objects.get().value == 1


@pytest.mark.parametrize(
    ("builder", "source"), [("docker", "docker"), ("docker", "registry"), ("buildah", "archive")]
)
def test_no_builder_is_missed_where_none_is_needed_or_none_helps(
    watch: Watch, settings: Settings, builder: str, source: str
) -> None:
    settings.SANDBOX_BUILDER, settings.SANDBOX_IMAGE_SOURCE = builder, source
    assert watch("Builder gone")() == []


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
