"""What /metrics says of the builder."""

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from sandbox_platform.kit import liveness
from sandbox_platform.kit.notify import Listener
from tests.metrics.reading import TOKEN, scraped, value

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def with_builder(settings: Settings) -> None:
    settings.SANDBOX_METRICS_TOKEN = TOKEN
    settings.SANDBOX_BUILDER, settings.SANDBOX_IMAGE_SOURCE = "buildah", "registry"
    settings.SANDBOX_IMAGE_REGISTRY = "registry.example/sandbox"


@pytest.fixture
def session(db: None) -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


def test_builder_is_down_until_one_is_alive(session: Listener) -> None:
    assert value(scraped(), "sandbox_builder_up") == 0
    liveness.hold_builder(session.connection)
    assert value(scraped(), "sandbox_builder_up") == 1


def test_nothing_is_said_of_a_builder_where_workers_make_builds(settings: Settings) -> None:
    settings.SANDBOX_BUILDER = settings.SANDBOX_IMAGE_SOURCE = "docker"
    assert value(scraped(), "sandbox_builder_up") is None
