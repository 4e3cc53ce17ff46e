from collections.abc import Callable

import pytest
from pytest_django import Settings

from builds.collection import NO_CODE, collect, unneeded_builds
from builds.making import repository, tag_of
from builds.models import BuildState, RuntimeBuild
from executions.models import Execution
from runtimes.models import Runtime
from sandboxes.engine import EngineError
from tests.builds.conftest import done

pytestmark = pytest.mark.django_db
MakeExecution = Callable[..., Execution]


class Images:
    """What collection asks of Docker."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.containers: dict[str, str] = {}
        self.removed: list[str] = []
        self.in_use = False

    def untag(self, name: str) -> None:
        if self.in_use:
            raise EngineError("image is being used by running container")
        self.removed.append(name)

    def tags(self, repository: str) -> list[str]:
        return self.names

    def builders(self) -> dict[str, str]:
        return self.containers

    def remove(self, container_id: str) -> None:
        self.removed.append(container_id)


@pytest.fixture
def images() -> Images:
    return Images()


@pytest.fixture
def builds(node: str, python_runtime: Runtime, settings: Settings) -> list[RuntimeBuild]:
    """Five, of which two are kept for being new."""
    settings.SANDBOX_KEEP_BUILDS = 2
    return [done(python_runtime, number, node) for number in range(1, 6)]


def numbers(found: list[RuntimeBuild]) -> set[int]:
    return {build.number for build in found}


def test_newest_builds_are_kept(builds: list[RuntimeBuild]) -> None:
    assert numbers(unneeded_builds()) == {1, 2, 3}


def test_what_runs_is_kept(builds: list[RuntimeBuild]) -> None:
    RuntimeBuild.objects.filter(number=1).update(state=BuildState.LIVE)
    assert numbers(unneeded_builds()) == {2, 3}


def test_what_a_rerun_needs_is_kept(builds: list[RuntimeBuild], make_execution: MakeExecution) -> None:
    make_execution(image_id=builds[1].image_id)
    assert numbers(unneeded_builds()) == {1, 3}


def test_what_retention_has_left_nothing_of_is_not(
    builds: list[RuntimeBuild], make_execution: MakeExecution
) -> None:
    make_execution(image_id=builds[1].image_id, code="")
    assert numbers(unneeded_builds()) == {1, 2, 3}


def test_empty_program_can_be_run_again(builds: list[RuntimeBuild], make_execution: MakeExecution) -> None:
    make_execution(image_id=builds[1].image_id, code="", code_sha256=NO_CODE)
    assert numbers(unneeded_builds()) == {1, 3}


def test_images_of_another_node_are_its_own_business(builds: list[RuntimeBuild], settings: Settings) -> None:
    settings.SANDBOX_NODE = "another"
    assert unneeded_builds() == []


def test_collected_build_has_no_image_any_more(builds: list[RuntimeBuild], images: Images) -> None:
    collect(images)  # type: ignore[arg-type]
    assert images.removed == [f"{repository()}:{tag_of(build)}" for build in reversed(builds[:3])]
    assert set(RuntimeBuild.objects.filter(image_id="").values_list("number", flat=True)) == {1, 2, 3}


def test_image_in_use_is_tried_again(builds: list[RuntimeBuild], images: Images) -> None:
    images.in_use = True
    collect(images)  # type: ignore[arg-type]
    assert numbers(unneeded_builds()) == {1, 2, 3}


def test_what_belongs_to_no_build_goes(builds: list[RuntimeBuild], images: Images) -> None:
    kept = f"{repository()}:{tag_of(builds[4])}"
    RuntimeBuild.objects.filter(number=4).update(state=BuildState.BUILDING)
    images.names = [kept, f"{repository()}:9-gone-1"]
    images.containers = {"stray": "0", "working": str(builds[3].pk)}
    collect(images)  # type: ignore[arg-type]
    assert {"stray", f"{repository()}:9-gone-1"} < set(images.removed)
    assert not {"working", kept} & set(images.removed)
