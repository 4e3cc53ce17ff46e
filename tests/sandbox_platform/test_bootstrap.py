from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from clients.models import Client, Token, hash_token
from inspections import separation
from runtimes.models import Runtime
from seccomp_profiles import shipped
from seccomp_profiles.models import SeccompProfile

TOKEN, PASSWORD = "token-of-the-environment", "password-of-the-environment"


@pytest.fixture(autouse=True)
def environment(db: None, settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.RAGFLOW_TOKEN = TOKEN
    monkeypatch.setenv("ADMIN_USERNAME", "root")
    monkeypatch.setenv("ADMIN_PASSWORD", PASSWORD)
    monkeypatch.delenv("ADMIN_PASSWORD_FILE", raising=False)


def bootstrap() -> str:
    output = StringIO()
    call_command("bootstrap", stdout=output)
    return output.getvalue()


def test_creates_everything() -> None:
    bootstrap()
    assert set(SeccompProfile.objects.values_list("name", flat=True)) == set(shipped.PROFILES)
    assert Runtime.objects.filter(slug__in=["python", "nodejs"]).count() == 2
    assert User.objects.get().is_superuser
    assert Token.objects.get().token_sha256 == hash_token(TOKEN)


def test_is_idempotent() -> None:
    bootstrap()
    output = bootstrap()
    assert "created" not in output
    assert (User.objects.count(), Client.objects.count()) == (1, 2)


def test_prints_no_secret() -> None:
    output = bootstrap() + bootstrap()
    assert TOKEN not in output
    assert PASSWORD not in output


def test_keeps_a_changed_password() -> None:
    bootstrap()
    user = User.objects.get()
    user.set_password("changed")
    user.save()
    bootstrap()
    user.refresh_from_db()
    assert user.check_password("changed")


def test_without_password_creates_no_administrator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADMIN_PASSWORD")
    assert "ADMIN_PASSWORD is not set" in bootstrap()
    assert not User.objects.exists()


def test_changed_token_replaces_the_clients(settings) -> None:
    bootstrap()
    settings.RAGFLOW_TOKEN = "another"
    assert "token replaced by the configured one" in bootstrap()
    assert [token.token_sha256 for token in Token.objects.usable()] == [hash_token("another")]


def test_token_that_another_client_has_is_left_there() -> None:
    Client.objects.create_with_token("mine", TOKEN)
    bootstrap()
    assert {client.name for client in Client.objects.all()} == {"mine", separation.CLIENT}


def test_revoked_token_is_not_restored() -> None:
    bootstrap()
    Token.objects.get().revoke()
    assert "was revoked" in bootstrap()
    assert not Token.objects.usable().exists()


def test_without_token_creates_no_client(settings) -> None:
    settings.RAGFLOW_TOKEN = ""
    bootstrap()
    assert [client.name for client in Client.objects.all()] == [separation.CLIENT]
    assert not Token.objects.exists()
