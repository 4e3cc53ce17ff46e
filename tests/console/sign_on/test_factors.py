"""Second factors: set up, removed, and recorded; and what an administrator may do about somebody's."""

import re
import time
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse
from pytest_django import Settings

from tests.conftest import Visitor
from tests.console.sign_on.acting import PASSWORD, entries, log_in
from tests.pages import words

pytestmark = pytest.mark.django_db
SECURITY, ADD = reverse("mfa_index"), reverse("mfa_activate_totp")
CONFIRM = reverse("account_reauthenticate")


@pytest.fixture
def person(client: Browser, administrator: User) -> Browser:
    log_in(client)
    return client


def confirm(browser: Browser, wanted: str, password: str = PASSWORD) -> Any:
    return browser.post(f"{CONFIRM}?next={wanted}", {"password": password})


def current(secret: str) -> str:
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30))


def add_app(browser: Browser) -> Any:
    confirm(browser, ADD)
    found = re.search(r'class="secret-key">([A-Z2-7]+)<', browser.get(ADD).content.decode())
    assert found
    return browser.post(ADD, {"code": current(found[1])})


@pytest.mark.parametrize("name", ["mfa_activate_totp", "mfa_add_webauthn", "mfa_generate_recovery_codes"])
def test_a_change_asks_for_the_password_again(person: Browser, name: str) -> None:
    assert person.get(reverse(name))["Location"].startswith(CONFIRM)
    assert confirm(person, reverse(name))["Location"] == reverse(name)
    assert person.get(reverse(name)).status_code == 200


def test_and_so_does_a_removal(person: Browser, administrator: User) -> None:
    TOTP.activate(administrator, "JBSWY3DPEHPK3PXP")
    assert person.post(reverse("mfa_deactivate_totp"))["Location"].startswith(CONFIRM)
    assert Authenticator.objects.exists()


def test_wrong_passwords_there_count_like_those_of_the_login(person: Browser) -> None:
    person.cookies.pop("known_device")  # in which some more are allowed
    answers = [confirm(person, ADD, "wrong").status_code for _ in range(5)]
    assert answers == [200, 200, 200, 200, 429]
    assert AccessAttempt.objects.get().failures_since_start == 5


def test_an_app_is_added_with_its_first_code(person: Browser) -> None:
    assert add_app(person)["Location"] == reverse("mfa_view_recovery_codes")
    assert set(Authenticator.objects.values_list("type", flat=True)) == {"totp", "recovery_codes"}


def test_a_wrong_first_code_adds_nothing(person: Browser) -> None:
    confirm(person, ADD)
    person.get(ADD)
    answer = person.post(ADD, {"code": "abc"})
    assert (answer.status_code, "Incorrect code." in answer.content.decode()) == (200, True)
    assert not Authenticator.objects.exists()


def test_recovery_codes_are_shown_once(person: Browser) -> None:
    add_app(person)
    page = reverse("mfa_view_recovery_codes")
    assert len(re.findall(r"<li>\d{8}</li>", person.get(page).content.decode())) == 10
    again = person.get(page).content.decode()
    assert not re.findall(r"\d{8}</li>", again) and "10 are unused" in words(again)


def test_new_codes_replace_the_old(person: Browser) -> None:
    add_app(person)
    page = reverse("mfa_view_recovery_codes")
    before = re.findall(r"<li>(\d{8})</li>", person.get(page).content.decode())
    assert person.post(reverse("mfa_generate_recovery_codes"))["Location"] == page
    after = re.findall(r"<li>(\d{8})</li>", person.get(page).content.decode())
    assert len(after) == 10 and not set(before) & set(after)


def test_setting_up_and_removing_is_in_the_trail(person: Browser) -> None:
    add_app(person)
    person.post(reverse("mfa_deactivate_totp"))
    told = [(entry.pgh_label, entry.pgh_data["type"], entry.who, entry.where) for entry in entries("audit.Factor")]
    who = ("user admin", "127.0.0.1")
    assert sorted(told) == sorted(
        [(label, kind, *who) for label in ("insert", "delete") for kind in ("totp", "recovery_codes")]
    )
    assert "secret" not in str([entry.pgh_data for entry in entries("audit.Factor")])


def test_using_one_is_no_change(person: Browser, administrator: User) -> None:
    factor = TOTP.activate(administrator, "JBSWY3DPEHPK3PXP").instance
    factor.record_usage()
    assert [entry.pgh_label for entry in entries("audit.Factor")] == ["insert"]


def test_a_person_removes_their_own_key(person: Browser, administrator: User) -> None:
    data = {"name": "my stick", "credential": {}}
    key = Authenticator.objects.create(user=administrator, type="webauthn", data=data)
    address = reverse("mfa_remove_webauthn", args=[key.pk])
    confirm(person, address)
    assert "“my stick” no longer logs you in" in person.get(address).content.decode()
    assert person.post(address)["Location"] == SECURITY
    assert not Authenticator.objects.exists()


def test_nobody_removes_another_s_key(person: Browser, db: None) -> None:
    other = User.objects.create_user("other")
    key = Authenticator.objects.create(user=other, type="webauthn", data={"name": "x", "credential": {}})
    confirm(person, SECURITY)
    assert person.post(reverse("mfa_remove_webauthn", args=[key.pk])).status_code == 404
    assert Authenticator.objects.filter(pk=key.pk).exists()


def test_a_person_of_the_provider_has_no_factors_here(client: Browser, db: None) -> None:
    client.force_login(User.objects.create_user("ann", is_staff=True), "django.contrib.auth.backends.ModelBackend")
    page = client.get(SECURITY)
    assert (page.status_code, "Add an authenticator app" in page.content.decode()) == (200, False)
    assert client.post(ADD).status_code == 403


def test_it_is_for_whoever_is_logged_in(client: Browser, db: None) -> None:
    for name in ("mfa_index", "mfa_activate_totp", "mfa_view_recovery_codes", "mfa_add_webauthn"):
        assert "login" in client.get(reverse(name))["Location"]


def test_whoever_must_have_one_can_set_it_up(client: Browser, administrator: User, settings: Settings) -> None:
    settings.SANDBOX_SECOND_FACTOR = "administrators"
    log_in(client)
    assert client.get("/admin/")["Location"] == SECURITY
    add_app(client)
    assert client.get("/admin/").status_code == 200


REMOVE = {"action": "remove_second_factors"}


def remove_factors_of(browser: Browser, user: User) -> None:
    browser.post(reverse("admin:auth_user_changelist"), REMOVE | {"_selected_action": [user.pk]})


def test_an_administrator_removes_lost_factors(visitor: Visitor) -> None:
    victim = User.objects.create_user("lost", is_staff=True)
    TOTP.activate(victim, "JBSWY3DPEHPK3PXP")
    remove_factors_of(visitor("administrator"), victim)
    assert not Authenticator.objects.exists()
    assert entries("audit.Factor")[-1].who == "user one administrator"


@pytest.mark.parametrize("role, superuser", [("auditor", False), ("operator", False), ("administrator", True)])
def test_others_do_not_and_nobody_those_of_a_superuser(visitor: Visitor, role: str, superuser: bool) -> None:
    victim = User.objects.create_user("lost", is_staff=True, is_superuser=superuser)
    TOTP.activate(victim, "JBSWY3DPEHPK3PXP")
    remove_factors_of(visitor(role), victim)
    assert Authenticator.objects.exists()
