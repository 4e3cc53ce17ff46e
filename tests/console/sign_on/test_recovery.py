"""`manage.py recover` lets a locked-out person in, whatever the settings say, and the trail has it."""

import io
import re
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from console.sign_on import methods
from people.models import RecoveryLink
from tests.console.sign_on.acting import acts, log_in

pytestmark = pytest.mark.django_db
INDEX = reverse("admin:index")


def recover(*arguments: str) -> str:
    out = io.StringIO()
    call_command("recover", "admin", *arguments, stdout=out)
    return out.getvalue()


def link(*arguments: str) -> str:
    found = re.search(r"^http://localhost:\d+(/\S+)$", recover(*arguments), re.MULTILINE)
    assert found
    return found[1]


def test_the_link_logs_in_with_a_button(client: Browser, administrator: User) -> None:
    address = link()
    assert "Log in as admin" in client.get(address).content.decode()
    assert client.get(INDEX).status_code == 302
    assert client.post(address)["Location"] == reverse("mfa_index")
    assert client.get(INDEX).status_code == 200


def test_it_works_without_local_login_and_second_factor(
    client: Browser, administrator: User, settings: Settings
) -> None:
    settings.SANDBOX_LOCAL_LOGIN, settings.SANDBOX_SECOND_FACTOR = False, "everyone"
    TOTP.activate(administrator, "JBSWY3DPEHPK3PXP")
    client.post(link())
    assert client.get(INDEX).status_code == 200


def test_it_works_once(client: Browser, administrator: User) -> None:
    address = link()
    client.post(address)
    assert Browser().post(address).status_code == 404
    assert Browser().get(address).status_code == 404


def test_it_works_for_a_quarter_of_an_hour(client: Browser, administrator: User) -> None:
    address = link()
    RecoveryLink.objects.update(created_at=timezone.now() - timedelta(minutes=16))
    assert client.post(address).status_code == 404


def test_a_new_link_replaces_the_old(client: Browser, administrator: User) -> None:
    old = link()
    link()
    assert client.post(old).status_code == 404


def test_an_invented_link_does_not(client: Browser, administrator: User) -> None:
    link()
    assert client.post(reverse("sign_on_recovery", args=["invented"])).status_code == 404


def test_only_a_hash_is_stored(administrator: User) -> None:
    token = link().rstrip("/").rpartition("/")[2]
    assert token not in str(list(RecoveryLink.objects.values()))


def test_its_session_lasts_an_hour(client: Browser, administrator: User) -> None:
    client.post(link())
    session = client.session
    assert session[methods.KIND] == "recovery"
    session[methods.UNTIL] -= 3601
    session.save()
    assert client.get(INDEX).status_code == 302


def test_it_ends_a_lock_out(client: Browser, administrator: User) -> None:
    for _ in range(5):
        log_in(client, password="wrong")
    assert log_in(client).status_code == 429
    recover()
    assert log_in(client).status_code == 302


def test_a_new_password_is_printed_and_works(client: Browser, administrator: User) -> None:
    found = re.search(r"New password of admin: (\S+)", recover("--new-password"))
    assert found
    assert log_in(client, password=found[1]).status_code == 302


def test_without_asking_nothing_else_changes(client: Browser, administrator: User) -> None:
    TOTP.activate(administrator, "JBSWY3DPEHPK3PXP")
    recover()
    assert Authenticator.objects.count() == 1
    assert log_in(client)["Location"] == reverse("mfa_authenticate")


def test_second_factors_are_removed_if_asked(client: Browser, administrator: User) -> None:
    TOTP.activate(administrator, "JBSWY3DPEHPK3PXP")
    recover("--reset-second-factors")
    assert log_in(client)["Location"] == INDEX


def test_the_trail_has_the_command_and_the_login(client: Browser, administrator: User) -> None:
    client.post(link("--reset-second-factors"))
    (made,), (used,) = acts("recovered"), acts("logged in")
    assert (made.what, made.where) == ("user admin", "local") or made.who
    assert made.changes["second factors"] == (None, "removed: none")
    assert (used.who, used.changes["method"]) == ("user admin", (None, "recovery link"))


@pytest.mark.parametrize(
    "fields, said", [({"username": "guest"}, "Superusers: guest"), ({"is_active": False}, "is switched off")]
)
def test_a_name_that_cannot_log_in_is_refused(administrator: User, fields: dict[str, object], said: str) -> None:
    User.objects.filter(pk=administrator.pk).update(**fields)
    with pytest.raises(CommandError, match=said):
        recover()
    assert not RecoveryLink.objects.exists()
