"""The page of a role shows its permissions as one table, with few queries and plain inputs."""

import re

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from console import permissions, roles
from tests.conftest import Visitor

NEW = reverse("admin:auth_group_add")


@pytest.fixture
def group(db: None) -> Group:
    group = Group.objects.create(name="readers")
    group.permissions.set(Permission.objects.filter(codename="view_execution"))
    return group


def page_of(group: Group) -> str:
    return reverse("admin:auth_group_change", args=[group.pk])


def ticked(html: str) -> set[int]:
    return {int(value) for value in re.findall(r'name="permissions" value="(\d+)"[^>]* checked', html)}


def test_what_the_role_has_is_ticked(browser: Browser, group: Group) -> None:
    assert ticked(browser.get(page_of(group)).content.decode()) == set(
        group.permissions.values_list("pk", flat=True)
    )


def test_each_box_says_what_it_grants(browser: Browser) -> None:
    html = browser.get(NEW).content.decode()
    assert 'aria-label="view execution"' in html
    assert "Can cancel executions" in html


def test_what_is_ticked_is_saved(browser: Browser, group: Group) -> None:
    wanted = Permission.objects.filter(codename__in=["view_execution", "cancel_execution"])
    form = {"name": "readers", "permissions": [permission.pk for permission in wanted]}
    assert browser.post(page_of(group), form).status_code == 302
    assert set(group.permissions.all()) == set(wanted)


def test_only_rights_that_mean_something_are_offered(db: None) -> None:
    apps = set(permissions.offered().values_list("content_type__app_label", flat=True))
    assert apps <= set(roles.APPS)


def test_a_right_that_the_role_has_anyway_is_kept(browser: Browser, group: Group) -> None:
    other = Permission.objects.exclude(content_type__app_label__in=roles.APPS).first()
    assert other
    group.permissions.add(other)
    assert other.pk in ticked(browser.get(page_of(group)).content.decode())


def test_a_reader_sees_the_table_without_inputs(visitor: Visitor, group: Group) -> None:
    html = visitor("auditor").get(page_of(group)).content.decode()
    assert 'table class="facts permissions"' in html
    assert 'name="permissions"' not in html


@pytest.mark.parametrize("role", ["administrator", "auditor"])
def test_the_number_of_queries_does_not_grow_with_the_permissions(
    visitor: Visitor, role: str, group: Group
) -> None:
    browser = visitor(role)
    browser.get(page_of(group))
    with CaptureQueriesContext(
        connection,
    ) as few:
        browser.get(page_of(group))
    group.permissions.set(permissions.offered())
    with CaptureQueriesContext(connection) as many:
        browser.get(page_of(group))
    assert len(many) == len(few)
