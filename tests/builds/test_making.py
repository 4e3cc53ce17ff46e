import pytest
from pytest_django import Settings

from builds.docker_engine import _name_and_tag
from builds.making import repository, tag_of
from builds.models import RuntimeBuild


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("alpine", ("alpine", "latest")),
        ("alpine:3", ("alpine", "3")),
        ("localhost:5000/a/b", ("localhost:5000/a/b", "latest")),
        ("localhost:5000/a/b:1", ("localhost:5000/a/b", "1")),
        ("a/b@sha256:00", ("a/b", "sha256:00")),
    ],
)
def test_exactly_one_image_is_pulled(reference: str, expected: tuple[str, str]) -> None:
    assert _name_and_tag(reference) == expected


@pytest.mark.django_db
def test_name_of_an_image_is_one_that_docker_takes(build: RuntimeBuild, settings: Settings) -> None:
    settings.SANDBOX_NODE = "My_Host.example"
    assert repository() == "sandbox-platform/build-my-host-example"
    assert tag_of(build) == f"{build.runtime_id}-python-1"
