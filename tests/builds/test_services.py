import pytest
from django.db import connection
from django_q.models import OrmQ

from builds import services, tasks
from builds.models import BuildKind, BuildState, RuntimeBuild
from runtimes.models import Runtime
from sandbox_platform.kit.errors import Conflicting
from tests.builds.conftest import done
from tests.tasks import queued

pytestmark = pytest.mark.django_db


def request(runtime: Runtime) -> RuntimeBuild:
    return services.request_build(runtime, kind=BuildKind.PULL, packages={}, by="somebody")


def other(name: str) -> Runtime:
    return Runtime.objects.create(slug=name, name=name, image=f"{name}:1", source_file="main.js")


def test_build_is_queued_for_the_worker(build: RuntimeBuild) -> None:
    assert (build.number, build.state, build.base) == (1, BuildState.QUEUED, build.runtime.image)
    assert build.packages == {"apt": [], "pip": ["humanize"], "npm": []}
    assert queued() == [(services.BUILD, (build.pk,))]


def test_runtime_has_one_build_at_a_time(build: RuntimeBuild) -> None:
    with pytest.raises(Conflicting, match="in progress"):
        request(build.runtime)


def test_build_that_ended_makes_room_for_the_next(build: RuntimeBuild) -> None:
    assert services.cancel(build)
    assert request(build.runtime).number == 2


def test_queued_build_is_cancelled_at_once(build: RuntimeBuild) -> None:
    services.cancel(build)
    build.refresh_from_db()
    assert build.state == BuildState.CANCELLED
    assert tasks.take(build.pk) is None


def test_build_under_way_is_told_to_end(build: RuntimeBuild) -> None:
    tasks.take(build.pk)
    assert services.cancel(build)
    build.refresh_from_db()
    assert build.state == BuildState.BUILDING
    assert build.cancel_requested_at


def test_build_that_has_ended_is_not_cancelled(build: RuntimeBuild) -> None:
    services.cancel(build)
    assert not services.cancel(build)


def test_build_is_taken_once(build: RuntimeBuild) -> None:
    assert tasks.take(build.pk)
    assert tasks.take(build.pk) is None


def test_node_makes_one_build_at_a_time(build: RuntimeBuild) -> None:
    second = request(other("nodejs"))
    assert tasks.take(build.pk)
    assert tasks.take(second.pk) is None
    second.refresh_from_db()
    assert second.state == BuildState.QUEUED


def test_next_build_starts_when_the_node_is_free(build: RuntimeBuild) -> None:
    OrmQ.objects.all().delete()
    tasks.take(build.pk)
    second = request(other("nodejs"))
    OrmQ.objects.all().delete()
    services.start_next()
    assert not OrmQ.objects.exists()
    RuntimeBuild.objects.filter(pk=build.pk).update(state=BuildState.FAILED)
    services.start_next()
    assert queued() == [(services.BUILD, (second.pk,))]


def test_build_whose_worker_died_has_failed(build: RuntimeBuild) -> None:
    tasks.take(build.pk)
    services.recover_lost()
    build.refresh_from_db()
    assert build.state == BuildState.BUILDING
    RuntimeBuild.objects.filter(pk=build.pk).update(worker_backend=999_999_999)
    services.recover_lost()
    build.refresh_from_db()
    assert (build.state, "worker" in build.error) == (BuildState.FAILED, True)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"state": BuildState.FAILED, "image_id": ""}, "has no image"),
        ({"image_id": ""}, "has no image"),
        ({"base": "another:1"}, "is based on another:1"),
    ],
)
def test_build_that_cannot_run_is_not_activated(
    node: str, python_runtime: Runtime, fields: dict[str, str], why: str
) -> None:
    with pytest.raises(Conflicting, match=why):
        services.activate(done(python_runtime, 1, node, **fields))


def test_live_build_is_not_activated_again(node: str, python_runtime: Runtime) -> None:
    with pytest.raises(Conflicting, match="already live"):
        services.activate(done(python_runtime, 1, node, state=BuildState.LIVE))


def test_activation_is_a_task(node: str, python_runtime: Runtime) -> None:
    services.activate(build := done(python_runtime, 1, node))
    assert queued() == [(services.ACTIVATE, (build.pk,))]


def test_requests_are_in_the_audit_without_the_log(build: RuntimeBuild) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM audit_runtimebuildevent WHERE pgh_obj_id = %s", [build.pk])
        assert "log" not in {column.name for column in cursor.description}
        assert len(cursor.fetchall()) == 1
    RuntimeBuild.objects.filter(pk=build.pk).update(log="more", progress="further")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM audit_runtimebuildevent WHERE pgh_obj_id = %s", [build.pk])
        assert cursor.fetchone() == (1,)
