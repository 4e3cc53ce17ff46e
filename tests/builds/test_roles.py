"""What the builder may do in Postgres: take builds and say how they went, and nothing about runs and runtimes."""

import pytest
from django_q.models import OrmQ
from pytest_django import Settings

from builds import services, tasks
from builds.models import BuildState, RuntimeBuild
from builds.record import Record
from executions.services import RUN
from sandbox_platform.kit.broker import NotifyBroker
from sandbox_platform.kit.services import Service
from sandbox_platform.kit.tasks import payload_of
from tests.sandbox_platform.acting import acting_as, attempt, made, there_are_roles  # noqa: F401

BUILDS = "builds"


@pytest.fixture
def builder(settings: Settings) -> None:
    settings.SANDBOX_BUILDER = "buildah"


def test_builder_takes_a_build_and_hands_it_over(build: RuntimeBuild, builder: None) -> None:
    OrmQ.objects.all().delete()
    with acting_as(Service.BUILDER):
        taken = tasks.take(build.pk)
        assert taken
        record = Record(taken)
        record.step("fetching pip packages")
        taken.base_image_id, taken.digest, taken.image_id = "sha256:a", "registry/python@sha256:b", "sha256:c"
        taken.save(update_fields=["base_image_id", "digest", "image_id"])
        assert services.hand_over(taken)
    build.refresh_from_db()
    assert (build.state, build.log) == (BuildState.PROBING, "== fetching pip packages\n")
    assert list(OrmQ.objects.values_list("key", "payload")) == [
        ("sandbox-platform", payload_of(services.PROBE, build.pk))
    ]


def test_builder_ends_a_build_and_looks_for_the_next(build: RuntimeBuild, builder: None) -> None:
    with acting_as(Service.BUILDER):
        taken = tasks.take(build.pk)
        assert taken
        tasks.end(None, taken, Record(taken), BuildState.FAILED, "no matching distribution")
        services.start_next()
    build.refresh_from_db()
    assert (build.state, build.error) == (BuildState.FAILED, "no matching distribution")


def test_builder_takes_from_its_own_queue_only(build: RuntimeBuild) -> None:
    OrmQ.objects.all().delete()
    RUN.enqueue("1")
    NotifyBroker(BUILDS).enqueue(payload_of(services.BUILD, build.pk))
    with acting_as(Service.BUILDER):
        assert NotifyBroker("sandbox-platform")._take() == []
        assert [payload for _, payload in NotifyBroker(BUILDS)._take()] == [payload_of(services.BUILD, build.pk)]
    assert list(OrmQ.objects.values_list("key", flat=True)) == ["sandbox-platform"]


def test_builder_does_not_take_the_probes_that_it_asks_for(build: RuntimeBuild) -> None:
    OrmQ.objects.all().delete()
    services.PROBE.enqueue(build.pk)
    with acting_as(Service.BUILDER):
        assert NotifyBroker("sandbox-platform")._take() == []
    assert OrmQ.objects.count() == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE runtimes_runtime SET built_image = 'sha256:a'",
        "SELECT environment FROM runtimes_runtime",
        "SELECT code FROM executions_execution",
        "SELECT image_id FROM executions_execution",
        "UPDATE runtimes_runtimebuild SET packages = '{}'",
        "UPDATE runtimes_runtimebuild SET base = ''",
        "UPDATE runtimes_runtimebuild SET live_at = now()",
        "UPDATE runtimes_runtimebuild SET requested_by = ''",
        "INSERT INTO runtimes_runtimebuild (number) VALUES (1)",
        "DELETE FROM runtimes_runtimebuild",
        "SELECT * FROM executions_sandbox",
        "SELECT * FROM executions_client",
    ],
)
def test_builder_may_not(statement: str) -> None:
    assert "permission denied" in attempt(Service.BUILDER, statement)
