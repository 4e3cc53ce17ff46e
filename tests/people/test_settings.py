"""Settings of sign-on: strict, and with warnings of dangerous combinations."""

import os
import subprocess
import sys

import pytest
from pytest_django import Settings

from people.checks import check_sign_on
from sandbox_platform import sign_on_settings
from tests.live import ROOT


def ids(settings: Settings, **values: object) -> list[str | None]:
    for name, value in values.items():
        setattr(settings, name, value)
    return [message.id for message in check_sign_on(None)]


HTTPS = {"SANDBOX_OIDC_ISSUER": "https://login.example", "SANDBOX_OIDC_CLIENT_SECRET": "s"}


@pytest.mark.parametrize(
    "values, found",
    [
        ({}, []),
        (HTTPS, []),
        (HTTPS | {"SANDBOX_LOCAL_LOGIN": False}, []),
        ({"SANDBOX_LOCAL_LOGIN": False}, ["people.E001"]),
        (HTTPS | {"SANDBOX_OIDC_ISSUER": "http://login.example"}, ["people.E002"]),
        (HTTPS | {"SANDBOX_OIDC_ISSUER": "http://127.0.0.1:9400"}, []),
        (HTTPS | {"SANDBOX_OIDC_ISSUER": "http://localhost:9400"}, []),
        (HTTPS | {"SANDBOX_OIDC_ISSUER": "http://localhost.evil.example"}, ["people.E002"]),
        (HTTPS | {"SANDBOX_OIDC_CLIENT_SECRET": ""}, ["people.W001"]),
        (HTTPS | {"SANDBOX_OIDC_LINK_BY_EMAIL": True}, ["people.W002"]),
    ],
)
def test_dangerous_combinations_are_told(settings: Settings, values: dict[str, object], found: list[str]) -> None:
    assert ids(settings, **values) == found


def test_groups_may_hold_equals_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", "cn=ops=operator, admins = administrator")
    assert sign_on_settings._roles("X") == {"cn=ops": "operator", "admins": "administrator"}


@pytest.mark.parametrize(
    "name, value, said",
    [
        ("SANDBOX_OIDC_ISSUER", "login.example", "is no address of a provider"),
        ("SANDBOX_OIDC_ISSUER", "https://login.example", "needs SANDBOX_OIDC_CLIENT_ID and SANDBOX_OIDC_ROLES"),
        ("SANDBOX_OIDC_ROLES", "admins", "is no mapping"),
        ("SANDBOX_SECOND_FACTOR", "always", "must be one of optional, administrators, everyone"),
        ("SANDBOX_LOCAL_LOGIN", "no", "neither true nor false"),
    ],
)
def test_nonsense_is_refused_with_the_name_of_the_setting(name: str, value: str, said: str) -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "sandbox_platform.settings", name: value}
    command = [sys.executable, "-c", "import sandbox_platform.sign_on_settings"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and said in done.stderr and name in done.stderr
