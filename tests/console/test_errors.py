"""What the console refuses or lacks is a page; the API and RAGFlow's endpoint keep their JSON."""

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse

from tests.conftest import Visitor
from tests.pages import words


def test_an_unknown_address_is_a_page_with_a_way_back(browser: Browser) -> None:
    answer = browser.get("/admin/nowhere/")
    assert (answer.status_code, answer["Content-Type"]) == (404, "text/html; charset=utf-8")
    page = answer.content.decode()
    assert "There is no page /admin/nowhere/ here" in words(page)
    assert f'href="{reverse("admin:index")}"' in page


def test_below_a_list_the_way_back_is_the_list(browser: Browser) -> None:
    page = browser.get("/admin/executions/execution/export.xml").content.decode()
    assert f'href="{reverse("admin:executions_execution_changelist")}"' in page
    assert "To the list" in page


def test_an_address_is_escaped(browser: Browser) -> None:
    assert "<script>x" not in browser.get("/admin/<script>x/").content.decode()


def test_without_a_login_an_unknown_address_says_nothing(client: Browser, db: None) -> None:
    answer = client.get("/admin/nowhere/")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/login/?next=/admin/nowhere/")


def test_what_a_role_does_not_permit_is_a_page(visitor: Visitor) -> None:
    answer = visitor("operator").get(reverse("admin:audit_trailentry_changelist"))
    assert answer.status_code == 403
    page = words(answer.content.decode())
    assert "Your role does not permit this (operator)." in page and "Dashboard" in page


def test_without_any_role_the_way_out_is_to_log_out(client: Browser, db: None) -> None:
    client.force_login(User.objects.create_user("new", is_staff=True))
    answer = client.get(reverse("admin:index"))
    assert answer.status_code == 403
    assert f'action="{reverse("admin:logout")}"' in answer.content.decode()


def test_a_form_without_its_token_is_a_page(administrator: User) -> None:
    browser = Browser(enforce_csrf_checks=True)
    browser.force_login(administrator)
    answer = browser.post(reverse("admin:pool"), {"action": "drain"})
    assert answer.status_code == 403
    assert "Form not accepted" in answer.content.decode()


def test_a_lock_out_is_a_page_with_a_way_back(client: Browser, administrator: User) -> None:
    for _ in range(5):
        answer = client.post(reverse("admin:login"), {"username": "admin", "password": "wrong"})
    assert answer.status_code == 429
    page = answer.content.decode()
    assert "Too many wrong passwords" in page and f'href="{reverse("admin:login")}"' in page


@pytest.mark.parametrize("address", ["/api/v1/nowhere", "/nowhere", "/run/nowhere", "/administration"])
def test_elsewhere_an_unknown_address_is_json(client: Browser, db: None, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 404
    assert "json" in answer["Content-Type"]


def test_the_console_s_own_api_keeps_json(browser: Browser) -> None:
    answer = browser.get(reverse("playground_run"), {"id": "nowhere"})
    assert (answer.status_code, "json" in answer["Content-Type"]) == (404, True)
