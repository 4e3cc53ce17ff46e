import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings


def test_where_workers_make_builds_no_builder_starts(settings: Settings) -> None:
    settings.SANDBOX_BUILDER = "docker"
    with pytest.raises(CommandError, match="SANDBOX_BUILDER=buildah"):
        call_command("builder")


def test_builder_without_a_registry_does_not_start(settings: Settings) -> None:
    settings.SANDBOX_BUILDER, settings.SANDBOX_IMAGE_SOURCE = "buildah", "archive"
    with pytest.raises(CommandError, match="SANDBOX_IMAGE_REGISTRY"):
        call_command("builder")
