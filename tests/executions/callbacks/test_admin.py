from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from clients.models import Client
from executions.callbacks import deliveries, signing
from executions.callbacks.models import Delivery
from executions.callbacks.sender import Answer
from executions.models import Execution
from tests.pages import words

LIST = reverse("admin:callbacks_delivery_changelist")
CLIENTS = reverse("admin:clients_client_changelist")
MakeExecution = Callable[..., Execution]


@pytest.fixture
def delivery(make_execution: MakeExecution) -> Delivery:
    execution = make_execution(callback_url="https://example.com/<b>hook")
    taken = deliveries.take(Delivery.objects.get(execution=execution).pk, 0)
    assert taken
    deliveries.record(taken, timezone.now(), Answer(503, "Not <i>now</i>", 12, final=True))
    return taken


def test_list_shows_how_it_stands(browser: Browser, delivery: Delivery) -> None:
    html = browser.get(LIST).content.decode()
    assert '<span class="status status-failed">Failed</span>' in html
    assert "Not &lt;i&gt;now&lt;/i&gt;" in html


def test_an_execution_s_id_finds_it(browser: Browser, delivery: Delivery) -> None:
    assert str(delivery.execution_id) in browser.get(LIST, {"q": str(delivery.execution_id)}).content.decode()
    assert browser.get(LIST, {"q": "no id"}).status_code == 200


def test_page_shows_the_attempts(browser: Browser, delivery: Delivery) -> None:
    url = reverse("admin:callbacks_delivery_change", args=[delivery.pk])
    html = browser.get(url).content.decode()
    assert "https://example.com/&lt;b&gt;hook" in html
    assert "503" in words(html)


def test_nothing_can_be_added_changed_or_deleted(browser: Browser, delivery: Delivery) -> None:
    pages = [
        reverse("admin:callbacks_delivery_add"),
        reverse("admin:callbacks_delivery_delete", args=[delivery.pk]),
        reverse("admin:callbacks_delivery_change", args=[delivery.pk]),
    ]
    assert [browser.post(page, {"post": "yes"}).status_code for page in pages] == [403, 403, 403]


def test_send_again_makes_it_due(browser: Browser, delivery: Delivery) -> None:
    browser.post(LIST, {"action": "send_again", "_selected_action": [delivery.pk]})
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempt_count) == ("pending", 0)


def test_who_may_only_look_cannot_send(client: Browser, delivery: Delivery) -> None:
    auditor = User.objects.create_user("auditor", is_staff=True)
    auditor.user_permissions.add(Permission.objects.get(codename="view_delivery"))
    client.force_login(auditor)
    client.post(LIST, {"action": "send_again", "_selected_action": [delivery.pk]})
    delivery.refresh_from_db()
    assert delivery.status == "failed"


def test_a_client_s_secret_is_shown(browser: Browser, client_with_token: tuple[Client, str]) -> None:
    data = {"action": "show_callback_secret", "_selected_action": [client_with_token[0].pk]}
    html = browser.post(CLIENTS, data, follow=True).content.decode()
    assert signing.secret_of(client_with_token[0]) in html.replace("&#x3D;", "=")


def test_a_client_s_secret_is_changed(browser: Browser, client_with_token: tuple[Client, str]) -> None:
    caller = client_with_token[0]
    before = signing.secret_of(caller)
    browser.post(CLIENTS, {"action": "rotate_callback_secret", "_selected_action": [caller.pk]})
    caller.refresh_from_db()
    assert signing.secret_of(caller) != before


def test_pages_show_no_value_of_the_url_s_query(browser: Browser, make_execution: MakeExecution) -> None:
    execution = make_execution(callback_url="https://example.com/hook?key=s3cret")
    pages = (
        f"/admin/callbacks/delivery/{execution.delivery.pk}/change/",
        f"/admin/executions/execution/{execution.pk}/change/",
    )
    for page in pages:
        html = browser.get(page).content.decode()
        assert "https://example.com/hook?key=…" in html
        assert "s3cret" not in html
