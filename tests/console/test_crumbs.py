import re
from urllib.parse import urlsplit

import pytest
from django.test import Client as Browser
from django.urls import reverse

from clients.models import Client
from tests.pages import words


def crumbs(browser: Browser, address: str) -> list[tuple[str, str]]:
    """Words and address of each."""
    html = browser.get(address).content.decode()
    title = re.search(r"<h1\b.*?</h1>", html, re.DOTALL)
    assert title
    return [
        (words(text), link) for link, text in re.findall(r'<a href="([^"]*)"[^>]*>(.*?)</a', title[0], re.DOTALL)
    ]


@pytest.mark.parametrize(
    "model, name",
    [
        ("runtimes_runtime", "Runtimes"),
        ("sandboxes_sandbox", "Sandboxes"),
        ("auth_user", "Users"),
        ("axes_accesslog", "Logins"),
        ("audit_trailentry", "Audit trail"),
        ("django_q_ormq", "Queued tasks"),
    ],
)
def test_a_list_is_called_as_in_the_menu(browser: Browser, model: str, name: str) -> None:
    address = reverse(f"admin:{model}_changelist")
    (shown,) = crumbs(browser, address)
    assert shown[0] == name
    dashboard = browser.get(reverse("admin:index")).content.decode()
    menu = re.search(rf'<a href="{address}"[^>]*>.*?</a>', dashboard, re.DOTALL)
    assert menu and name in words(menu[0])


def test_a_row_keeps_its_own_name(browser: Browser) -> None:
    client = Client.objects.create(name="ragflow")
    shown = crumbs(browser, reverse("admin:clients_client_change", args=[client.pk]))
    assert [name for name, _ in shown] == ["Clients", "ragflow"]
    assert urlsplit(shown[0][1]).path == reverse("admin:clients_client_changelist")
