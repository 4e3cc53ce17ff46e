"""The doctor's check of the builder, where builds are made without Docker."""

from collections.abc import Iterator

import psycopg
import pytest
from pytest_django import Settings

from sandbox_platform.doctor import Status, run, service
from sandbox_platform.kit.liveness import hold_builder


@pytest.fixture(autouse=True)
def with_builder(settings: Settings) -> None:
    settings.SANDBOX_BUILDER, settings.SANDBOX_IMAGE_SOURCE = "buildah", "registry"
    settings.SANDBOX_IMAGE_REGISTRY = "registry.example/sandbox"


@pytest.fixture
def session(transactional_db: None, database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as session:
        yield session


def test_nobody_makes_builds(db: None) -> None:
    found = service.builder("builder")
    assert (found.status, "builds" in found.detail) == (Status.WARNING, True)


def test_builder_is_alive(session: psycopg.Connection) -> None:
    hold_builder(session)
    assert service.builder("builder").status is Status.OK


def test_without_a_registry_no_builder_helps(settings: Settings) -> None:
    settings.SANDBOX_IMAGE_REGISTRY = ""
    assert "registry" in service.builder("builder").detail


@pytest.mark.parametrize(
    ("builder", "source", "checked"),
    [("docker", "docker", False), ("docker", "registry", False), ("buildah", "registry", True)],
)
def test_builder_is_looked_for_where_one_is_needed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, builder: str, source: str, checked: bool
) -> None:
    settings.SANDBOX_BUILDER, settings.SANDBOX_IMAGE_SOURCE = builder, source
    monkeypatch.setattr(run, "run", lambda name, check: name)
    assert ("builder" in set(run.run_all())) is checked
