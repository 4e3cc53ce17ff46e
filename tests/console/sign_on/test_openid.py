"""Single sign-on with a real OpenID provider on loopback."""

import time
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import TOTP
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import Group, User
from django.test import Client as Browser
from django.urls import reverse
from pytest_django import Settings

from console.sign_on import methods
from people import provider as asking
from people.models import Identity
from tests.console.sign_on.acting import acts, entries
from tests.console.sign_on.openid import Provider, changed, go, query, sign_on
from tests.live import free_port
from tests.pages import words

pytestmark = pytest.mark.django_db
INDEX = reverse("admin:index")


def groups(name: str) -> set[str]:
    return set(Group.objects.filter(user__username=name).values_list("name", flat=True))


def text(answer: Any) -> str:
    return words(answer.content.decode())


def test_the_login_page_offers_it(client: Browser, provider: Provider) -> None:
    assert "Log in with Example login" in client.get(reverse("admin:login")).content.decode()


def test_without_an_issuer_there_is_none(client: Browser, db: None) -> None:
    assert client.get(reverse("sign_on_start")).status_code == 404
    assert client.get(reverse("sign_on_callback")).status_code == 404


def test_a_person_comes_in_with_the_role_of_their_group(client: Browser, provider: Provider) -> None:
    assert sign_on(client, provider, "ann-1", next="/admin/pool/")["Location"] == "/admin/pool/"
    assert client.get(INDEX).status_code == 200
    ann = User.objects.get(username="ann")
    assert (groups("ann"), ann.is_staff, ann.is_superuser, ann.has_usable_password()) == (
        {"operator"}, True, False, False,
    )  # fmt: skip
    assert client.get(reverse("admin:auth_user_changelist")).status_code == 403


def test_the_request_has_state_nonce_and_pkce(client: Browser, provider: Provider) -> None:
    sent = query(go(client))
    assert sent["code_challenge_method"] == "S256" and len(sent["code_challenge"]) == 43
    assert len(sent["state"]) > 20 and len(sent["nonce"]) > 15
    assert sent["redirect_uri"] == "http://testserver/admin/login/openid/callback/"
    assert sent["scope"].split() == ["openid", "profile", "email"]


def test_another_browser_s_answer_is_refused(provider: Provider) -> None:
    back = provider.lets_in(go(Browser()), "ann-1")
    answer = Browser().get(back)
    assert (answer.status_code, "mismatching_state" in text(answer)) == (403, True)
    assert not User.objects.filter(username="ann").exists()


def test_an_answer_is_taken_once(client: Browser, provider: Provider) -> None:
    back = provider.lets_in(go(client), "ann-1")
    assert client.get(back).status_code == 302
    client.post(reverse("admin:logout"))
    assert client.get(back).status_code == 403


def test_a_token_for_another_request_is_refused(client: Browser, provider: Provider) -> None:
    answer = client.get(provider.lets_in(changed(go(client), nonce="somebody-else-s"), "ann-1"))
    assert (answer.status_code, "invalid_claim" in text(answer)) == (403, True)


def test_an_invented_code_is_refused(client: Browser, provider: Provider) -> None:
    answer = client.get(changed(provider.lets_in(go(client), "ann-1"), code="invented"))
    assert (answer.status_code, "invalid_grant" in text(answer)) == (403, True)


def test_whoever_declines_at_the_provider_learns_that(client: Browser, provider: Provider) -> None:
    back = f"{reverse('sign_on_callback')}?error=access_denied&error_description=%3Cscript%3E"
    answer = client.get(back)
    assert (answer.status_code, "access_denied" in text(answer), b"<script>" in answer.content) == (
        403,
        True,
        False,
    )


@pytest.mark.parametrize("claims", [{}, {"groups": []}, {"groups": ["other"]}, {"groups": {"ops": 1}}])
def test_without_a_known_group_there_is_no_access(client: Browser, provider: Provider, claims: Any) -> None:
    provider.knows("bob-1", preferred_username="bob", **claims)
    answer = sign_on(client, provider, "bob-1")
    assert (answer.status_code, "No access" in text(answer)) == (403, True)
    assert client.get(INDEX).status_code == 302
    assert not User.objects.filter(username="bob").exists()
    (entry,) = acts("refused login")
    assert (entry.where, entry.changes["subject"]) == ("127.0.0.1", (None, "bob-1"))


def test_a_role_that_does_not_exist_is_named(client: Browser, provider: Provider, settings: Settings) -> None:
    settings.SANDBOX_OIDC_ROLES = {"ops": "operatr"}
    assert "the role operatr, which does not exist" in text(sign_on(client, provider, "ann-1"))


def test_groups_can_be_inside_a_claim(client: Browser, provider: Provider, settings: Settings) -> None:
    settings.SANDBOX_OIDC_GROUPS_CLAIM = "realm_access.roles"
    provider.knows("cy-1", preferred_username="cy", realm_access={"roles": ["watch"]})
    assert sign_on(client, provider, "cy-1").status_code == 302
    assert groups("cy") == {"auditor"}


def test_roles_follow_the_groups_at_each_login(provider: Provider) -> None:
    sign_on(Browser(), provider, "ann-1")
    provider.knows("ann-1", preferred_username="ann", groups=["admins", "watch", "other"])
    sign_on(Browser(), provider, "ann-1")
    assert groups("ann") == {"administrator", "auditor"}
    changes = [entry for entry in entries("audit.PersonRole") if entry.pgh_label == "delete"]
    assert [(entry.who, entry.where) for entry in changes] == [(f"OpenID provider {provider.issuer}", "127.0.0.1")]


def test_whoever_has_left_all_groups_loses_roles_and_sessions(client: Browser, provider: Provider) -> None:
    sign_on(client, provider, "ann-1")
    assert client.get(INDEX).status_code == 200
    provider.knows("ann-1", preferred_username="ann", groups=["other"])
    assert sign_on(Browser(), provider, "ann-1").status_code == 403
    assert groups("ann") == set()
    assert client.get(INDEX).status_code == 302


def test_a_person_is_the_subject_and_not_the_name(client: Browser, provider: Provider) -> None:
    sign_on(client, provider, "ann-1")
    provider.knows("ann-2", preferred_username="ann", groups=["admins"])
    answer = sign_on(Browser(), provider, "ann-2")
    assert (answer.status_code, "There is already a user ann" in text(answer)) == (403, True)
    provider.knows("ann-1", preferred_username="anna", groups=["ops"])
    assert sign_on(Browser(), provider, "ann-1").status_code == 302
    assert User.objects.get(identity__subject="ann-1").username == "ann"


def test_another_issuer_s_subject_is_another_person(provider: Provider) -> None:
    other = User.objects.create_user("other", is_staff=True)
    Identity.objects.create(issuer="https://elsewhere.example", subject="ann-1", user=other)
    sign_on(Browser(), provider, "ann-1")
    assert User.objects.get(identity__issuer=provider.issuer).username == "ann"


def local(**more: Any) -> User:
    return User.objects.create_user("local", email="Ann@Example.com", password="x", is_staff=True, **more)


def test_an_equal_address_takes_no_account_over(client: Browser, provider: Provider) -> None:
    user = local()
    sign_on(client, provider, "ann-1")
    assert client.session["_auth_user_id"] != str(user.pk)
    assert User.objects.filter(username="ann").exists()


def test_it_does_if_the_operator_trusts_verified_addresses(
    client: Browser, provider: Provider, settings: Settings
) -> None:
    settings.SANDBOX_OIDC_LINK_BY_EMAIL = True
    user = local()
    sign_on(client, provider, "ann-1")
    assert client.session["_auth_user_id"] == str(user.pk)
    (entry,) = entries("people.Identity")
    assert (entry.pgh_label, entry.who) == ("insert", f"OpenID provider {provider.issuer}")


@pytest.mark.parametrize("verified", [False, None, "yes", 1])
def test_but_no_unverified_one(provider: Provider, settings: Settings, verified: Any) -> None:
    settings.SANDBOX_OIDC_LINK_BY_EMAIL = True
    user = local()
    provider.knows(
        "ann-1", preferred_username="ann", email="ann@example.com", email_verified=verified, groups=["ops"]
    )
    browser = Browser()
    sign_on(browser, provider, "ann-1")
    assert browser.session["_auth_user_id"] != str(user.pk)
    assert User.objects.get(username="ann").email == ""


def test_and_none_that_two_accounts_have(client: Browser, provider: Provider, settings: Settings) -> None:
    settings.SANDBOX_OIDC_LINK_BY_EMAIL = True
    local()
    User.objects.create_user("second", email="ann@example.com", is_staff=True)
    sign_on(client, provider, "ann-1")
    assert Identity.objects.get().user.username == "ann"


def test_a_superuser_is_never_taken_over(client: Browser, provider: Provider, settings: Settings) -> None:
    settings.SANDBOX_OIDC_LINK_BY_EMAIL = True
    local(is_superuser=True)
    answer = sign_on(client, provider, "ann-1")
    assert (answer.status_code, "is a superuser" in text(answer)) == (403, True)
    assert not Identity.objects.exists()


def test_whoever_is_switched_off_stays_out(provider: Provider) -> None:
    sign_on(Browser(), provider, "ann-1")
    User.objects.filter(username="ann").update(is_active=False)
    answer = sign_on(Browser(), provider, "ann-1")
    assert (answer.status_code, "switched off" in text(answer)) == (403, True)


def test_the_trail_and_the_session_say_how(client: Browser, provider: Provider) -> None:
    sign_on(client, provider, "ann-1")
    (entry,) = acts("logged in")
    said = f"OpenID Connect ({provider.issuer})"
    assert (entry.what, entry.changes["method"]) == ("user ann", (None, said))
    assert UserSession.objects.get().data == {"method": said}


def test_a_session_ends_in_time(client: Browser, provider: Provider, settings: Settings) -> None:
    sign_on(client, provider, "ann-1")
    session = client.session
    assert session[methods.UNTIL] - time.time() == pytest.approx(settings.SANDBOX_OIDC_SESSION_S, abs=60)
    session[methods.UNTIL] = time.time() - 1
    session.save()
    assert client.get(INDEX).status_code == 302


def test_without_the_provider_its_sessions_end(client: Browser, provider: Provider, settings: Settings) -> None:
    sign_on(client, provider, "ann-1")
    settings.SANDBOX_OIDC_ISSUER = "https://elsewhere.example"
    assert client.get(INDEX).status_code == 302


def test_it_works_while_local_login_is_off(client: Browser, provider: Provider, settings: Settings) -> None:
    settings.SANDBOX_LOCAL_LOGIN, settings.SANDBOX_SECOND_FACTOR = False, "everyone"
    sign_on(client, provider, "ann-1")
    assert client.get(INDEX).status_code == 200


def test_whoever_has_a_second_factor_here_is_asked_for_it(client: Browser, provider: Provider) -> None:
    sign_on(Browser(), provider, "ann-1")
    TOTP.activate(User.objects.get(username="ann"), "JBSWY3DPEHPK3PXP")
    assert sign_on(client, provider, "ann-1")["Location"] == reverse("mfa_authenticate")
    assert client.get(INDEX).status_code == 302


def test_a_wanted_page_of_another_site_is_not_kept(client: Browser, provider: Provider) -> None:
    assert sign_on(client, provider, "ann-1", next="https://evil.example/")["Location"] == INDEX


def test_a_provider_that_is_away_is_a_clear_page(client: Browser, settings: Settings, provider: Provider) -> None:
    settings.SANDBOX_OIDC_ISSUER = f"http://127.0.0.1:{free_port()}"
    answer = client.get(reverse("sign_on_start"))
    assert (answer.status_code, "cannot be reached" in text(answer)) == (502, True)


def test_a_provider_of_another_name_is_refused(client: Browser, settings: Settings, provider: Provider) -> None:
    settings.SANDBOX_OIDC_ISSUER = f"{provider.issuer}/"
    answer = client.get(reverse("sign_on_start"))
    assert (answer.status_code, "calls itself" in text(answer)) == (502, True)


def test_an_answer_without_end_is_refused(
    client: Browser, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "MOST_BYTES", 100)
    asking._client_of.cache_clear()
    answer = client.get(reverse("sign_on_start"))
    assert (answer.status_code, "more than 100 bytes" in text(answer)) == (502, True)


def test_the_secret_is_in_no_answer_and_no_log(
    client: Browser, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    assert "secret" not in go(client)
    client.get(changed(provider.lets_in(go(client), "ann-1"), code="invented"))
    assert "the client's secret" not in caplog.text and "invented" not in caplog.text
