from pathlib import Path

import pytest
from pytest_django import Settings

from builds.buildah import references


@pytest.fixture(autouse=True)
def registry(settings: Settings) -> None:
    settings.SANDBOX_IMAGE_REGISTRY = "registry.example:5000/sandbox"
    settings.SANDBOX_IMAGE_REGISTRY_AUTH_FILE = settings.SANDBOX_IMAGE_REGISTRY_CA_FILE = ""
    settings.SANDBOX_IMAGE_REGISTRY_PLAIN_HTTP = False


def test_options_of_the_registry_are_for_no_other(settings: Settings, tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("certificate")
    settings.SANDBOX_IMAGE_REGISTRY_CA_FILE, settings.SANDBOX_IMAGE_REGISTRY_PLAIN_HTTP = str(authority), True
    folder = tmp_path / "certificates"
    assert references.options("docker.io/library/python:3", folder) == []
    found = references.options("registry.example:5000/other:1", folder)
    assert found == ["--tls-verify=false", f"--cert-dir={folder}"]
    assert (folder / "ca.crt").read_text() == "certificate"


def test_passwords_are_in_a_file(settings: Settings, tmp_path: Path) -> None:
    settings.SANDBOX_IMAGE_REGISTRY_AUTH_FILE = "/run/secrets/auth"
    assert references.options("docker.io/library/python:3", tmp_path) == ["--authfile", "/run/secrets/auth"]
