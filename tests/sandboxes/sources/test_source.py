"""A node whose images come from elsewhere has no Docker, and asks for none."""

import os
import subprocess
import sys
from pathlib import Path

import docker
import pytest
from django.core.management import call_command
from pytest_django import Settings

from builds import collection
from sandbox_platform.doctor.run import CHECKS, DOCKERS, run_all
from sandboxes.direct.engine import DirectEngine
from sandboxes.sources.archive import ArchiveSource
from sandboxes.sources.registry import RegistrySource
from sandboxes.sources.source import image_source
from tests.sandboxes.sources.made import file, image, layer


class DockerWasAsked(BaseException):
    """Nothing that expects errors catches it."""


@pytest.fixture
def without_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise DockerWasAsked

    monkeypatch.setattr(docker, "APIClient", refuse)


@pytest.fixture
def archive(settings: Settings, tmp_path: Path, without_docker: None) -> str:
    """The only source of images; returns the content id of its only image."""
    settings.SANDBOX_IMAGE_SOURCE, settings.SANDBOX_IMAGE_ARCHIVES = "archive", tmp_path
    settings.SANDBOX_RUN_DIR, settings.SANDBOX_IMAGE_DIR = tmp_path / "run", tmp_path / "images"
    settings.SANDBOX_ENGINE = "direct"
    made = image(layer(file("a")))
    made.write(tmp_path / "runtime-python.tar")
    return made.image_id


def test_engine_gets_its_images_from_the_source(archive: str) -> None:
    engine = DirectEngine()
    assert engine.image_id("sandbox-platform/runtime-python:latest") == archive
    assert engine.unpacked("sandbox-platform/runtime-python:latest").entrypoint == ("/runner",)


def test_engine_lists_its_sandboxes_without_docker(archive: str) -> None:
    assert DirectEngine().containers() == []


def test_docker_is_asked_where_it_is_the_source(settings: Settings, tmp_path: Path, without_docker: None) -> None:
    settings.SANDBOX_RUN_DIR = tmp_path
    with pytest.raises(DockerWasAsked):
        DirectEngine()


def test_source_is_that_of_the_setting(settings: Settings, without_docker: None, tmp_path: Path) -> None:
    settings.SANDBOX_IMAGE_DIR, settings.SANDBOX_IMAGE_SOURCE = tmp_path, "registry"
    assert isinstance(image_source(), RegistrySource)
    settings.SANDBOX_IMAGE_SOURCE = "archive"
    assert isinstance(image_source(), ArchiveSource)


def test_images_of_builds_are_not_collected_without_docker(archive: str) -> None:
    collection.collect_here()


def test_trial_asks_no_docker(archive: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        # There is no such image: the trial ends when it asks the source for it.
        call_command("try_direct_engine", "runtime-none")


def test_doctor_asks_no_docker(archive: str, monkeypatch: pytest.MonkeyPatch, transactional_db: None) -> None:
    from sandboxes import engines

    engines.get_engine.cache_clear()
    try:
        found = {check.name for check in run_all()}
    finally:
        engines.get_engine.cache_clear()
    assert found & DOCKERS == set()
    assert {"images", "disk", "engine's tools"} <= found <= CHECKS.keys()


def settings_with(**environment: str) -> subprocess.CompletedProcess[str]:
    code = "from sandbox_platform import settings as s; print(s.SANDBOX_ENGINE, s.SANDBOX_IMAGE_SOURCE)"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SANDBOX_")}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=inherited | environment, check=False
    )


def test_engine_is_direct_where_images_come_from_elsewhere() -> None:
    assert settings_with(SANDBOX_IMAGE_SOURCE="archive").stdout == "direct archive\n"


def test_engine_of_docker_with_another_source_is_refused() -> None:
    done = settings_with(SANDBOX_IMAGE_SOURCE="archive", SANDBOX_ENGINE="docker")
    assert "leave SANDBOX_ENGINE empty" in done.stderr


def test_registry_without_its_name_is_refused() -> None:
    assert "SANDBOX_IMAGE_REGISTRY is empty" in settings_with(SANDBOX_IMAGE_SOURCE="registry").stderr
