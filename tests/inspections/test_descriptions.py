"""Which runtimes are described anew, and which descriptions are kept."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from inspections import descriptions, services
from inspections.models import Inspection, InspectionState
from runtimes.models import Runtime
from tests.sandboxes.stub_engine import StubEngine

Make = Callable[..., Inspection]


@pytest.fixture
def engine() -> StubEngine:
    return StubEngine()


@pytest.fixture
def make(python_runtime: Runtime, engine: StubEngine) -> Make:
    def describe(**fields: Any) -> Inspection:
        done = {
            "state": InspectionState.DONE,
            "finished_at": timezone.now(),
            "node": descriptions.settings.SANDBOX_NODE,
            "runsc_version": engine.version(),
            "image_id": engine.image_id(python_runtime.image),
            "runtime_revision": python_runtime.revision,
            "requested_by": "schedule",
        }
        return Inspection.objects.create(kind="describe", runtime=python_runtime, **done | fields)

    return describe


def due(engine: StubEngine) -> list[Runtime]:
    return list(descriptions.due(engine))


def test_a_runtime_that_was_never_described_is_due(python_runtime: Runtime, engine: StubEngine) -> None:
    assert due(engine) == [python_runtime]


def test_a_described_runtime_is_not_due(make: Make, engine: StubEngine) -> None:
    make()
    assert due(engine) == []


@pytest.mark.parametrize(
    "changed", [{"image_id": "another"}, {"runtime_revision": 0}, {"runsc_version": "older"}, {"node": "another"}]
)
def test_a_description_of_something_else_is_none(make: Make, engine: StubEngine, changed: dict[str, Any]) -> None:
    make(**changed)
    assert len(due(engine)) == 1


def test_what_failed_is_not_tried_again_and_again(make: Make, engine: StubEngine) -> None:
    make(state=InspectionState.FAILED)
    assert due(engine) == []


def test_what_was_cancelled_is_tried_again(make: Make, engine: StubEngine) -> None:
    make(state=InspectionState.CANCELLED)
    assert len(due(engine)) == 1


def test_a_disabled_runtime_is_not_described(python_runtime: Runtime, engine: StubEngine) -> None:
    Runtime.objects.update(enabled=False)
    assert due(engine) == []


def test_a_runtime_without_its_image_is_not_described(python_runtime: Runtime, engine: StubEngine) -> None:
    engine.missing.add(python_runtime.image)
    assert due(engine) == []


def test_keepers_request_one_description_at_a_time(python_runtime: Runtime, engine: StubEngine) -> None:
    Runtime.objects.create(slug="ruby", image="ruby:1", source_file="main.rb")
    descriptions.tend(engine)
    descriptions.tend(engine)
    assert [each.kind for each in Inspection.objects.all()] == ["describe"]
    assert OrmQ.objects.count() == 1


def test_a_second_request_returns_the_open_description(python_runtime: Runtime) -> None:
    first = descriptions.request(python_runtime, by="admin")
    Inspection.objects.update(state=InspectionState.RUNNING)
    assert descriptions.request(python_runtime, by="admin") == first


def test_the_last_description_is_kept_however_old(make: Make) -> None:
    old = timezone.now() - services.KEPT - timedelta(days=1)
    make(finished_at=old)
    last = make(finished_at=old)
    services.delete_old()
    descriptions.delete_old()
    assert list(Inspection.objects.all()) == [last]


def test_the_shown_description_is_kept_when_later_ones_failed(make: Make) -> None:
    old = timezone.now() - services.KEPT - timedelta(days=1)
    shown, failed = make(finished_at=old), make(finished_at=old, state=InspectionState.FAILED)
    descriptions.delete_old()
    assert set(Inspection.objects.all()) == {shown, failed}
