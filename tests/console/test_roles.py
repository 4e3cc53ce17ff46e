import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.urls import reverse

from clients.models import Client
from console import roles
from console.navigation import PAGES
from runtimes.models import Runtime
from tests.conftest import Visitor

ALL = {"administrator", "operator", "auditor"}
MODELS = sorted(model._meta.label_lower for model in admin.site._registry)
# Apps whose tables operators have no business with.
NOT_FOR_OPERATORS = {"audit", "auth", "axes", "redaction", "usersessions"}
ADDABLE = {
    "alerts.channel", "alerts.rule", "alerts.silence",
    "redaction.redactionpattern", "audit.retentionpolicy", "auth.group", "auth.user", "clients.client",
    "egress.egressrule", "runtimes.runtime", "builds.runtimebuild", "seccomp_profiles.seccompprofile",
    "usage.price",
}  # fmt: skip


# Operators silence alerts.
ALSO_ADD = {("operator", "alerts.silence")}


def url(model: str, page: str) -> str:
    return reverse(f"admin:{model.replace('.', '_')}_{page}")


@pytest.mark.parametrize("role", sorted(ALL))
@pytest.mark.parametrize("model", MODELS)
def test_role_sees_the_lists_it_should(visitor: Visitor, model: str, role: str) -> None:
    allowed = role != "operator" or model.partition(".")[0] not in NOT_FOR_OPERATORS
    assert visitor(role).get(url(model, "changelist")).status_code == (200 if allowed else 403)


@pytest.mark.parametrize("role", sorted(ALL))
@pytest.mark.parametrize("model", MODELS)
def test_only_administrators_add_but_for_silences(visitor: Visitor, model: str, role: str) -> None:
    allowed = role == "administrator" and model in ADDABLE or (role, model) in ALSO_ADD
    assert visitor(role).get(url(model, "add")).status_code == (200 if allowed else 403)


@pytest.mark.parametrize("role", sorted(ALL))
@pytest.mark.parametrize("name", ["index", *(page[0] for page in PAGES)])
def test_role_sees_the_pages_it_should(visitor: Visitor, name: str, role: str) -> None:
    allowed = (name != "playground" or role != "auditor") and (name != "first_steps" or role == "administrator")
    assert visitor(role).get(reverse(f"admin:{name}")).status_code == (200 if allowed else 403)


@pytest.mark.parametrize("role", ["operator", "auditor"])
def test_who_only_looks_changes_no_runtime(visitor: Visitor, python_runtime: Runtime, role: str) -> None:
    page = reverse("admin:runtimes_runtime_change", args=[python_runtime.pk])
    browser = visitor(role)
    assert browser.get(page).status_code == 200
    assert browser.post(page, {"name": "x"}).status_code == 403


@pytest.mark.parametrize("role", ["operator", "auditor"])
def test_who_only_looks_gets_no_token(visitor: Visitor, client_with_token: tuple[Client, str], role: str) -> None:
    data = {"action": "issue_new_token", "_selected_action": [client_with_token[0].pk]}
    visitor(role).post(url("clients.client", "changelist"), data)
    assert client_with_token[0].tokens.count() == 1


def test_a_role_is_brought_up_to_date(db: None) -> None:
    roles.ensure()
    group = Group.objects.get(name="auditor")
    group.permissions.add(Permission.objects.get(codename="change_client"))
    assert roles.ensure() == ["auditor"]
    assert not group.permissions.exclude(codename__startswith="view_").exists()


def test_administrator_makes_nobody_a_superuser(visitor: Visitor) -> None:
    victim = User.objects.create_user("victim")
    page = reverse("admin:auth_user_change", args=[victim.pk])
    data = {"username": "victim", "is_superuser": "on", "is_active": "on"}
    response = visitor("administrator").post(page, data)
    assert response.status_code == 302
    victim.refresh_from_db()
    assert not victim.is_superuser


def test_administrator_cannot_take_over_a_superuser(visitor: Visitor, administrator: User) -> None:
    page = reverse("admin:auth_user_password_change", args=[administrator.pk])
    data = {"password1": "another long password", "password2": "another long password"}
    assert visitor("administrator").post(page, data).status_code == 403
