"""People are watched: users, roles, permissions, passwords, logins."""

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import DatabaseError, connection, transaction
from django.test import Client as Browser
from django.urls import reverse

from audit.models import TrailEntry
from audit.models.changes import EVENTS
from audit.models.seals import Pending
from console import roles
from tests.conftest import Visitor

LOGIN = reverse("admin:login")
PASSWORD = "correct horse battery staple"


@pytest.fixture
def auditor(db: None) -> User:
    # Joined before the transaction of the test, whose beginning is the time of every change in it.
    joined = datetime(2020, 1, 1, tzinfo=UTC)
    return User.objects.create_user("aud", password=PASSWORD, is_staff=True, date_joined=joined)


def give_role(user: User) -> None:
    roles.ensure()
    user.groups.add(Group.objects.get(name=roles.AUDITOR))


def entries(model: str, **filters: Any) -> list[TrailEntry]:
    found = TrailEntry.objects.filter(pgh_obj_model=f"audit.{model}", **filters)
    return list(found.order_by("pgh_created_at", "pgh_id"))


def log_in(browser: Browser, user: User, password: str = PASSWORD) -> Any:
    return browser.post(LOGIN, {"username": user.username, "password": password}, follow=True)


def set_password(browser: Browser, user: User, password: str) -> None:
    address = reverse("admin:auth_user_password_change", args=[user.pk])
    form = {"password1": password, "password2": password, "usable_password": "true"}
    assert browser.post(address, form).status_code == 302


def test_a_user_s_rights_are_in_the_trail(auditor: User) -> None:
    User.objects.filter(pk=auditor.pk).update(is_superuser=True)
    assert [entry.pgh_label for entry in entries("Person")] == ["insert", "update"]
    assert entries("Person")[-1].changes == {"is_superuser": (False, True)}
    assert "aud" in entries("Person")[0].what


@pytest.mark.parametrize("model", ["PersonRole", "RolePermission", "PersonPermission", "Role"])
def test_roles_and_permissions_are_in_the_trail(auditor: User, model: str) -> None:
    group, permission = Group.objects.create(name="some"), Permission.objects.first()
    assert permission
    auditor.groups.add(group)
    auditor.user_permissions.add(permission)
    group.permissions.add(permission)
    auditor.groups.clear()
    auditor.user_permissions.clear()
    group.delete()
    assert [entry.pgh_label for entry in entries(model)] == ["insert", "delete"]


def test_a_password_is_in_the_trail_as_a_fingerprint(auditor: User) -> None:
    stored = auditor.password
    fingerprint = f"fingerprint {hashlib.sha256(stored.encode()).hexdigest()[:16]}"
    assert [entry.pgh_data["password"] for entry in entries("Person")] == [fingerprint]


def test_logins_are_in_the_trail(client: Browser, auditor: User) -> None:
    log_in(client, auditor)
    (entry,) = entries("Login")
    assert (entry.pgh_data["username"], entry.pgh_data["ip_address"]) == ("aud", "127.0.0.1")


def test_a_login_is_no_change_of_the_person(client: Browser, auditor: User) -> None:
    log_in(client, auditor)
    assert [entry.pgh_label for entry in entries("Person")] == ["insert"]


def test_changes_of_people_wait_for_a_seal(auditor: User) -> None:
    assert Pending.objects.filter(source="audit_personevent").count() == 1


PEOPLE = [event for event in EVENTS if event.pgh_tracked_model._meta.app_label == "audit"]


@pytest.mark.parametrize(
    "event", [event for event in PEOPLE if "Person" in event.__name__ or "Login" in event.__name__]
)
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "UPDATE {} SET pgh_label = 'x'"])
def test_their_history_is_final(client: Browser, auditor: User, event: Any, statement: str) -> None:
    log_in(client, auditor)
    auditor.groups.add(Group.objects.create(name="some"))
    auditor.user_permissions.add(Permission.objects.all()[0])
    if not event.objects.exists():
        return
    with pytest.raises(DatabaseError, match="history"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement.format(event._meta.db_table))


def test_a_forged_entry_is_refused(auditor: User) -> None:
    with pytest.raises(DatabaseError, match="only triggers"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO audit_loginevent (pgh_created_at, pgh_label, pgh_obj_id, id, user_agent, attempt_time)"
            " VALUES (now(), 'insert', 1, 1, '', now())"
        )


def test_nobody_deletes_a_user(auditor: User) -> None:
    with pytest.raises(DatabaseError, match="switched off, not deleted"), transaction.atomic():
        auditor.delete()


def test_the_admin_offers_no_deletion(browser: Browser, auditor: User) -> None:
    address = reverse("admin:auth_user_delete", args=[auditor.pk])
    assert browser.post(address, {"post": "yes"}).status_code == 403
    action = {"action": "delete_selected", "_selected_action": [auditor.pk], "post": "yes"}
    browser.post(reverse("admin:auth_user_changelist"), action)
    assert User.objects.filter(pk=auditor.pk).exists()


def test_a_password_that_another_sets_is_announced(browser: Browser, auditor: User) -> None:
    give_role(auditor)
    set_password(browser, auditor, "another horse battery")
    page = log_in(Browser(), auditor, "another horse battery").content.decode()
    assert "Your password was set by user admin" in page
    changed = entries("Person")[-1]
    assert (changed.who, set(changed.changes)) == ("user admin", {"password"})


def test_it_is_announced_once(browser: Browser, auditor: User) -> None:
    give_role(auditor)
    set_password(browser, auditor, "another horse battery")
    log_in(Browser(), auditor, "another horse battery")
    page = log_in(Browser(), auditor, "another horse battery")
    assert (page.status_code, "password was set" in page.content.decode()) == (200, False)


def test_one_s_own_change_is_not_announced(visitor: Visitor) -> None:
    own = visitor("administrator")
    user = User.objects.get(username="one administrator")
    user.set_password(PASSWORD)
    user.save()
    log_in(Browser(), user)
    own.force_login(user, "django.contrib.auth.backends.ModelBackend")
    set_password(own, user, "another horse battery")
    page = log_in(Browser(), user, "another horse battery")
    assert (page.status_code, "password was set" in page.content.decode()) == (200, False)
