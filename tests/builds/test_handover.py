"""With a builder of its own: it makes and pushes the image, and a worker of a node probes it and puts it live."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django_q.models import OrmQ
from pytest_django import Settings

from builds import collection, services, tasks
from builds.models import BuildKind, BuildState, RuntimeBuild
from builds.record import BuildFailed
from runtimes.models import Runtime
from sandbox_platform.kit.errors import Conflicting
from tests.tasks import queued

pytestmark = pytest.mark.django_db

IMAGE = "sha256:" + "ab" * 32


class Engine:
    """A builder, as far as the tasks know it: how its images are made is tested with buildah."""

    def __init__(self) -> None:
        self.tidied = 0

    def untag(self, name: str) -> None:
        pass

    def tidy(self) -> None:
        self.tidied += 1


@pytest.fixture
def builder(settings: Settings) -> Settings:
    settings.SANDBOX_BUILDER, settings.SANDBOX_IMAGE_SOURCE = "buildah", "registry"
    settings.SANDBOX_IMAGE_REGISTRY = "registry.example/sandbox"
    return settings


@pytest.fixture
def made(builder: Settings, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """What makes an image, and knows its content id."""
    engine = Engine()

    def make(_: Any, build: RuntimeBuild, record: Any) -> None:
        build.image_id = IMAGE
        build.save(update_fields=["image_id"])

    monkeypatch.setattr(tasks, "get_build_engine", lambda: engine)
    monkeypatch.setattr(tasks, "make", make)
    return engine


@pytest.fixture
def proven(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The images that were probed, and what went live after the colon."""
    seen: list[str] = []
    monkeypatch.setattr(tasks, "get_engine", lambda: None)
    monkeypatch.setattr(tasks, "probe", lambda _, runtime, image_id, packages, record: seen.append(image_id))
    monkeypatch.setattr(services, "availability_problem", lambda image_id: "")
    monkeypatch.setattr(tasks, "go_live", lambda _, build: seen.append(f"live: {build.image_id}"))
    return seen


@pytest.fixture
def handed_over(build: RuntimeBuild, made: Engine) -> RuntimeBuild:
    OrmQ.objects.all().delete()
    tasks.run_build(build.pk)
    build.refresh_from_db()
    return build


def test_built_image_waits_for_a_worker(handed_over: RuntimeBuild, made: Engine) -> None:
    assert (handed_over.state, handed_over.image_id) == (BuildState.PROBING, IMAGE)
    assert "waiting" in handed_over.progress
    assert queued() == [(services.PROBE, (handed_over.pk,))]
    assert services.PROBE.queue == "sandbox-platform"
    assert made.tidied == 1


def test_builder_runs_nothing_of_the_image(handed_over: RuntimeBuild, proven: list[str]) -> None:
    assert proven == []


def test_worker_probes_the_image_and_puts_it_live(handed_over: RuntimeBuild, proven: list[str]) -> None:
    tasks.probe_build(handed_over.pk)
    assert proven == [IMAGE, f"live: {IMAGE}"]


def test_image_is_probed_once(handed_over: RuntimeBuild, proven: list[str]) -> None:
    tasks.probe_build(handed_over.pk)
    tasks.probe_build(handed_over.pk)
    assert len(proven) == 2


def test_image_that_fails_its_probes_fails_the_build(
    handed_over: RuntimeBuild, proven: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: Any) -> None:
        raise BuildFailed("Probe hello: exit code 1")

    monkeypatch.setattr(tasks, "probe", wrong)
    tasks.probe_build(handed_over.pk)
    handed_over.refresh_from_db()
    assert (handed_over.state, handed_over.error) == (BuildState.FAILED, "Probe hello: exit code 1")
    assert proven == []


def test_node_that_cannot_pull_keeps_the_build_ready(
    handed_over: RuntimeBuild, proven: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "availability_problem", lambda _: "1 of 2 nodes do not have the image.")
    tasks.probe_build(handed_over.pk)
    handed_over.refresh_from_db()
    assert (handed_over.state, proven) == (BuildState.READY, [IMAGE])
    assert "registry" in handed_over.error and "docker" not in handed_over.error


def test_build_that_waits_for_a_worker_is_not_lost(handed_over: RuntimeBuild) -> None:
    OrmQ.objects.all().delete()
    services.recover_lost()
    handed_over.refresh_from_db()
    assert handed_over.state == BuildState.PROBING
    assert queued() == [(services.PROBE, (handed_over.pk,))]


def test_keepers_queue_no_task_twice(handed_over: RuntimeBuild, build: RuntimeBuild) -> None:
    for _ in range(3):
        services.recover_lost()
    assert len(queued()) == 1
    RuntimeBuild.objects.filter(pk=handed_over.pk).update(state=BuildState.QUEUED)
    OrmQ.objects.all().delete()
    for _ in range(3):
        services.start_next()
    assert queued() == [(services.BUILD, (build.pk,))]


def test_build_whose_probing_worker_died_has_failed(handed_over: RuntimeBuild) -> None:
    RuntimeBuild.objects.filter(pk=handed_over.pk).update(worker_backend=999_999_999)
    services.recover_lost()
    handed_over.refresh_from_db()
    assert handed_over.state == BuildState.FAILED


def test_build_that_waits_for_a_worker_is_cancelled_at_once(handed_over: RuntimeBuild, proven: list[str]) -> None:
    assert services.cancel(handed_over)
    handed_over.refresh_from_db()
    assert handed_over.state == BuildState.CANCELLED
    tasks.probe_build(handed_over.pk)
    assert proven == []


def test_build_that_was_ended_meanwhile_is_not_handed_over(
    build: RuntimeBuild, made: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: Any) -> None:
        RuntimeBuild.objects.update(state=BuildState.FAILED)
        OrmQ.objects.all().delete()

    monkeypatch.setattr(tasks, "make", ended)
    tasks.run_build(build.pk)
    build.refresh_from_db()
    assert (build.state, queued()) == (BuildState.FAILED, [])


def test_builder_reads_no_environment_of_a_runtime(build: RuntimeBuild, builder: Settings) -> None:
    with connection.execute_wrapper(_without_environment):
        taken = tasks.take(build.pk)
    assert taken and taken.runtime.slug == build.runtime.slug


def _without_environment(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
    assert "environment" not in sql
    return execute(sql, *arguments)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"SANDBOX_BUILDER": "docker"}, "need a builder"),
        ({"SANDBOX_BUILDER": "docker", "SANDBOX_IMAGE_SOURCE": "archive"}, "need a builder"),
        ({"SANDBOX_IMAGE_SOURCE": "archive"}, "need a registry"),
        ({"SANDBOX_IMAGE_SOURCE": "docker"}, "need a registry"),
        ({"SANDBOX_IMAGE_REGISTRY": ""}, "need a registry"),
    ],
)
def test_build_without_builder_or_registry_is_refused(
    builder: Settings, python_runtime: Runtime, changed: dict[str, str], why: str
) -> None:
    for name, value in changed.items():
        setattr(builder, name, value)
    with pytest.raises(Conflicting, match=why) as refused:
        services.request_build(python_runtime, kind=BuildKind.PULL, packages={}, by="somebody")
    assert refused.value.code == "builds_not_available"
    assert "SANDBOX_IMAGE_REGISTRY" in str(refused.value.remedy)
    assert not RuntimeBuild.objects.exists()


def test_build_with_builder_and_registry_is_queued(builder: Settings, python_runtime: Runtime) -> None:
    services.request_build(python_runtime, kind=BuildKind.PULL, packages={}, by="somebody")
    assert RuntimeBuild.objects.get().state == BuildState.QUEUED


@pytest.mark.parametrize(("builder", "queue"), [("docker", "sandbox-platform"), ("buildah", "builds")])
def test_builds_are_in_the_queue_of_who_makes_them(builder: str, queue: str) -> None:
    """In a process of its own: tasks are declared once, when it starts."""
    program = "import django; django.setup(); from builds import services; print(services.BUILD.queue)"
    environment = {"SANDBOX_BUILDER": builder, "DJANGO_SETTINGS_MODULE": "sandbox_platform.settings"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == queue


def test_collection_asks_no_docker_for_images_of_a_registry(
    builder: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "get_build_engine", lambda: pytest.fail("asked for Docker"))
    collection.collect_here()
    builder.SANDBOX_BUILDER = "docker"
    collection.collect_here()
