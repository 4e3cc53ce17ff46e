from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from audit.models import ClientEvent
from clients.admission import admit
from clients.forms import OVERLAPS
from clients.models import Client, ClientStorage, Role, Token, hash_token
from executions.models import Execution, Status
from runtimes.models import Runtime
from tests.conftest import Visitor

MakeExecution = Callable[..., Execution]
CLIENTS = reverse("admin:clients_client_changelist")
ADD = reverse("admin:clients_client_add")
TOKENS = reverse("admin:clients_token_changelist")
NO_INLINES = {"tokens-TOTAL_FORMS": "0", "tokens-INITIAL_FORMS": "0"}


@pytest.fixture
def existing(client_with_token: tuple[Client, str]) -> Client:
    return client_with_token[0]


def page(client: Client) -> str:
    return reverse("admin:clients_client_change", args=[client.pk])


def html_of(browser: Browser, url: str) -> str:
    response = browser.get(url)
    assert response.status_code == 200
    return response.content.decode()


def token_in(html: str) -> str:
    return html.split("shown only now: <code ")[1].split(">")[1].split("</code")[0]


def save(browser: Browser, url: str, **fields: object) -> str:
    data = {"name": "dify", "enabled": "on", "role": "caller", "network": "none", **NO_INLINES, **fields}
    return browser.post(url, data, follow=True).content.decode()


def issue(browser: Browser, client: Client, overlap: str) -> str:
    data = {"action": "issue_new_token", "_selected_action": [client.pk], "overlap": overlap}
    return token_in(browser.post(CLIENTS, data, follow=True).content.decode())


def hashes() -> set[str]:
    return set(Token.objects.usable().values_list("token_sha256", flat=True))


# --- Clients ---


def test_new_clients_token_is_shown_once(browser: Browser) -> None:
    html = save(browser, ADD)
    assert Token.objects.get().token_sha256 == hash_token(token_in(html))
    assert "shown only now" not in html_of(browser, CLIENTS)


def test_changed_client_keeps_its_token(browser: Browser, existing: Client) -> None:
    before = hashes()
    save(browser, page(existing), name="renamed", role="auditor")
    existing.refresh_from_db()
    assert (existing.name, existing.role) == ("renamed", Role.AUDITOR)
    assert hashes() == before


def test_limits_are_saved(browser: Browser, existing: Client) -> None:
    save(browser, page(existing), max_wall_time_ms="500", max_runs_per_day="7")
    existing.refresh_from_db()
    assert (existing.max_wall_time_ms, existing.max_runs_per_day, existing.max_runs_per_minute) == (500, 7, None)


def test_caps_are_written_with_their_units(browser: Browser, existing: Client) -> None:
    save(browser, page(existing), max_wall_time_ms="1.5 s", max_memory_bytes="128 MiB")
    existing.refresh_from_db()
    assert (existing.max_wall_time_ms, existing.max_memory_bytes) == (1500, 128 * 2**20)
    assert 'value="128 MiB"' in html_of(browser, page(existing))


@pytest.mark.parametrize(
    "field", ["max_wall_time_ms", "max_memory_bytes", "max_runs_per_minute", "max_open_executions"]
)
def test_limit_that_would_stop_every_run_is_refused(browser: Browser, existing: Client, field: str) -> None:
    html = save(browser, page(existing), **{field: "0"})
    assert "Ensure this value is greater than or equal to" in html
    existing.refresh_from_db()
    assert getattr(existing, field) is None


def test_allowed_runtimes_are_chosen_from_the_installed(
    browser: Browser, existing: Client, python_runtime: Runtime
) -> None:
    save(browser, page(existing), allowed_runtimes=["python"])
    existing.refresh_from_db()
    assert existing.allowed_runtimes == ["python"]
    assert "perl is not one of the available choices" in save(browser, page(existing), allowed_runtimes=["perl"])


def test_runtime_that_is_gone_stays_among_the_allowed(browser: Browser, existing: Client) -> None:
    Client.objects.update(allowed_runtimes=["gone"])
    assert "not installed (gone)" in html_of(browser, page(existing))
    save(browser, page(existing), allowed_runtimes=["gone"])
    existing.refresh_from_db()
    assert existing.allowed_runtimes == ["gone"]


def test_formats_are_off_until_they_are_chosen(browser: Browser, existing: Client) -> None:
    assert existing.formats == []
    save(browser, page(existing), formats=["piston", "dify"])
    existing.refresh_from_db()
    assert existing.formats == ["piston", "dify"]
    assert "nothing is not one of the available choices" in save(browser, page(existing), formats=["nothing"])


def test_change_of_formats_is_in_the_trail(browser: Browser, existing: Client) -> None:
    save(browser, page(existing), formats=["judge0"])
    assert ClientEvent.objects.filter(pgh_obj_id=existing.pk).order_by("pk").last().formats == ["judge0"]


def test_list_shows_usage(browser: Browser, existing: Client, make_execution: MakeExecution) -> None:
    existing.max_runs_per_day, existing.max_open_executions = 9, 5
    existing.save()
    admit(existing, 4)
    make_execution(client=existing, status=Status.QUEUED)
    make_execution(client=existing)
    html = html_of(browser, CLIENTS)
    assert "4 of 9" in html
    assert "1 of 5" in html


def test_page_shows_usage(browser: Browser, existing: Client) -> None:
    existing.max_runs_per_minute = existing.max_runs_per_day = 9
    existing.save()
    admit(existing, 4)
    assert "0 queued or running, 4 in the last minute, 4 today" in html_of(browser, page(existing))


def test_page_shows_what_is_stored(browser: Browser, existing: Client) -> None:
    ClientStorage.objects.create(client=existing, bytes=3 * 2**20)
    assert "3 MiB of 20 GiB stored" in html_of(browser, page(existing))
    save(browser, page(existing), max_stored_bytes="5 MiB")
    existing.refresh_from_db()
    assert existing.max_stored_bytes == 5 * 2**20
    assert "3 MiB of 5 MiB stored" in html_of(browser, page(existing))
    save(browser, page(existing), max_stored_bytes="0")
    assert "3 MiB stored" in html_of(browser, page(existing))


def test_client_with_history_cannot_be_deleted(
    browser: Browser, existing: Client, make_execution: MakeExecution
) -> None:
    make_execution(client=existing)
    url = reverse("admin:clients_client_delete", args=[existing.pk])
    assert browser.post(url, {"post": "yes"}).status_code == 403


def test_client_without_history_is_deleted_with_its_tokens(browser: Browser, existing: Client) -> None:
    browser.post(reverse("admin:clients_client_delete", args=[existing.pk]), {"post": "yes"})
    assert (Client.objects.count(), Token.objects.count()) == (0, 0)


def test_clients_cannot_be_deleted_in_bulk(browser: Browser, existing: Client) -> None:
    assert "delete_selected" not in html_of(browser, CLIENTS)


# --- Tokens ---


def test_new_token_voids_the_old_one(browser: Browser, existing: Client) -> None:
    new = issue(browser, existing, "0")
    assert hashes() == {hash_token(new)}


@pytest.mark.parametrize("overlap", [{}, {"overlap": ""}, {"overlap": "nonsense"}])
def test_a_new_token_asks_what_becomes_of_the_old_ones(
    browser: Browser, existing: Client, overlap: dict[str, str]
) -> None:
    before = hashes()
    data = {"action": "issue_new_token", "_selected_action": [existing.pk]} | overlap
    html = browser.post(CLIENTS, data).content.decode()
    assert hashes() == before
    assert all(f'name="overlap" value="{key}" required> {label}' in html for key, (label, _) in OVERLAPS.items())
    assert " checked" not in html.partition('class="choices"')[2].partition("</fieldset>")[0]
    assert ("Choose what becomes of the old tokens." in html) == bool(overlap)


def test_a_client_without_a_valid_token_is_asked_nothing(browser: Browser, existing: Client) -> None:
    Token.objects.get().revoke()
    html = browser.post(CLIENTS, {"action": "issue_new_token", "_selected_action": [existing.pk]}).content.decode()
    assert "There is no valid token to replace." in html and 'type="radio"' not in html


def test_a_new_token_can_be_copied(browser: Browser, existing: Client) -> None:
    data = {"action": "issue_new_token", "_selected_action": [existing.pk], "overlap": "keep"}
    html = browser.post(CLIENTS, data, follow=True).content.decode()
    assert f'<code id="token-{existing.pk}">' in html
    assert f'data-copy="token-{existing.pk}">Copy</button>' in html


def test_a_new_token_is_offered_on_the_client_s_page(browser: Browser, existing: Client, visitor: Visitor) -> None:
    assert "New token …</button>" in html_of(browser, page(existing))
    assert "New token …" not in html_of(visitor("auditor"), page(existing))


def test_an_auditor_reads_limits_with_their_units(existing: Client, visitor: Visitor) -> None:
    Client.objects.update(max_memory_bytes=268435456, max_wall_time_ms=10000)
    html = html_of(visitor("auditor"), page(existing))
    assert "256 MiB" in html and "10 s" in html
    assert "268435456" not in html and "10000" not in html


def test_new_token_with_overlap_leaves_the_old_one_for_a_day(browser: Browser, existing: Client) -> None:
    old = Token.objects.get()
    new = issue(browser, existing, "1d")
    assert hashes() == {old.token_sha256, hash_token(new)}
    old.refresh_from_db()
    assert old.expires_at
    assert abs(old.expires_at - timezone.now() - timedelta(days=1)) < timedelta(minutes=1)


def test_new_token_beside_the_old_ones_changes_none(browser: Browser, existing: Client) -> None:
    issue(browser, existing, "keep")
    assert len(hashes()) == 2
    assert not Token.objects.filter(expires_at__isnull=False).exists()


def test_tokens_are_listed_without_their_hash(browser: Browser, existing: Client) -> None:
    token = Token.objects.get()
    for url in (TOKENS, page(existing), reverse("admin:clients_token_change", args=[token.pk])):
        assert token.token_sha256 not in html_of(browser, url)


def test_revoked_token_stops_working(browser: Browser, existing: Client) -> None:
    data = {"action": "revoke", "_selected_action": [Token.objects.get().pk]}
    assert "1 revoked" in browser.post(TOKENS, data, follow=True).content.decode()
    assert hashes() == set()


def test_expiry_is_set(browser: Browser, existing: Client) -> None:
    url = reverse("admin:clients_token_change", args=[Token.objects.get().pk])
    browser.post(url, {"name": "host 1", "expires_at_0": "2099-01-01", "expires_at_1": "00:00:00"})
    token = Token.objects.get()
    assert token.expires_at
    assert (token.name, token.expires_at.year) == ("host 1", 2099)


def test_expiry_in_the_past_is_refused_with_the_remedy(browser: Browser, existing: Client) -> None:
    url = reverse("admin:clients_token_change", args=[Token.objects.get().pk])
    html = browser.post(url, {"expires_at_0": "2020-01-01", "expires_at_1": "00:00:00"}).content.decode()
    assert "Choose a later time (UTC), or revoke the token." in html


def test_expired_token_can_still_be_named(browser: Browser, existing: Client) -> None:
    Token.objects.update(expires_at="2020-01-01T00:00Z")
    url = reverse("admin:clients_token_change", args=[Token.objects.get().pk])
    browser.post(url, {"name": "the old host", "expires_at_0": "2020-01-01", "expires_at_1": "00:00:00"})
    assert Token.objects.get().name == "the old host"


def test_tokens_cannot_be_added_by_hand(browser: Browser) -> None:
    assert browser.get(reverse("admin:clients_token_add")).status_code == 403


def test_token_of_a_client_with_history_cannot_be_deleted(
    browser: Browser, existing: Client, make_execution: MakeExecution
) -> None:
    make_execution(client=existing)
    url = reverse("admin:clients_token_delete", args=[Token.objects.get().pk])
    assert browser.post(url, {"post": "yes"}).status_code == 403
