from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from inspections.models import Inspection
from runtimes.models import Runtime
from tests.conftest import Visitor
from tests.inspections.facts import facts
from tests.pages import words

ROLES = ("administrator", "operator", "auditor")
Make = Callable[..., Inspection]


@pytest.fixture
def make(python_runtime: Runtime) -> Make:
    def describe(told: dict[str, Any] | None = None, **fields: Any) -> Inspection:
        done = {
            "state": "done",
            "finished_at": timezone.now(),
            "image_id": "sha256:0123",
            "runtime_revision": python_runtime.revision,
            "details": {"facts": told or facts(), "summary": ""},
        }
        return Inspection.objects.create(kind="describe", runtime=python_runtime, **done | fields)

    return describe


def page(runtime: Runtime) -> str:
    return reverse("admin:description", args=[runtime.pk])


def shown(browser: Browser, runtime: Runtime) -> str:
    answer = browser.get(page(runtime))
    assert answer.status_code == 200
    return words(answer.content.decode())


@pytest.mark.parametrize("role", ROLES)
def test_every_role_sees_the_facts_and_where_they_come_from(
    visitor: Visitor, python_runtime: Runtime, make: Make, role: str
) -> None:
    make()
    text = shown(visitor(role), python_runtime)
    assert "Image sha256:0123 , revision 1" in text
    assert "Version Python 3.13.5" in text
    assert "numpy 2.5.5" in text
    assert "LANG C.UTF-8" in text


def test_without_view_permission_there_is_no_page(client: Browser, python_runtime: Runtime) -> None:
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert client.get(page(python_runtime)).status_code == 403


def test_a_runtime_that_was_not_described_has_a_page_with_a_button(
    browser: Browser, python_runtime: Runtime
) -> None:
    html = browser.get(page(python_runtime)).content.decode()
    assert "not described yet" in words(html)
    assert ">Describe</button>" in html


def test_an_administrator_requests_a_description_under_its_name(browser: Browser, python_runtime: Runtime) -> None:
    answer = browser.post(page(python_runtime), follow=True)
    (inspection,) = Inspection.objects.all()
    assert (inspection.kind, inspection.runtime, inspection.requested_by) == (
        "describe",
        python_runtime,
        "user admin",
    )
    assert "Describing …" in answer.content.decode()


@pytest.mark.parametrize("role", ["operator", "auditor"])
def test_others_request_none(visitor: Visitor, python_runtime: Runtime, role: str) -> None:
    somebody = visitor(role)
    assert somebody.post(page(python_runtime)).status_code == 403
    assert not Inspection.objects.exists()
    assert ">Describe</button>" not in somebody.get(page(python_runtime)).content.decode()


def test_a_change_since_the_description_is_told(browser: Browser, python_runtime: Runtime, make: Make) -> None:
    make()
    assert "has changed since" not in shown(browser, python_runtime)
    python_runtime.save()
    assert "its revision is now 2" in shown(browser, python_runtime)


def test_a_failure_is_told_beside_the_facts_of_before(
    browser: Browser, python_runtime: Runtime, make: Make
) -> None:
    make()
    make(state="failed", details={"summary": "image: no such image"})
    text = shown(browser, python_runtime)
    assert "image: no such image" in text
    assert "numpy 2.5.5" in text


def test_what_an_image_says_is_escaped(browser: Browser, python_runtime: Runtime, make: Make) -> None:
    bad = "<script>alert(1)</script>"
    make(facts(version=bad, **{"packages:pip": f"{bad}\t{bad}\n"}))
    assert bad not in browser.get(page(python_runtime)).content.decode()


def test_a_long_list_can_be_searched(browser: Browser, python_runtime: Runtime, make: Make) -> None:
    make()
    assert "package-search" not in browser.get(page(python_runtime)).content.decode()
    make(facts(**{"packages:pip": "".join(f"package-{n}\t1\n" for n in range(30))}))
    assert "package-search" in browser.get(page(python_runtime)).content.decode()


@pytest.mark.parametrize("role", ROLES)
def test_the_runtime_s_page_leads_to_it(visitor: Visitor, python_runtime: Runtime, role: str) -> None:
    runtime_page = reverse("admin:runtimes_runtime_change", args=[python_runtime.pk])
    assert page(python_runtime) in visitor(role).get(runtime_page).content.decode()


def test_the_inspection_s_page_leads_to_it(browser: Browser, python_runtime: Runtime, make: Make) -> None:
    address = reverse("admin:inspections_inspection_change", args=[make().pk])
    assert page(python_runtime) in browser.get(address).content.decode()
