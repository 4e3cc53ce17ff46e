from collections.abc import Callable

import pytest
from django.db import IntegrityError
from django.test import RequestFactory
from rest_framework.permissions import BasePermission
from rest_framework.views import APIView

from clients.auth import AnonymousCaller
from clients.models import Client, Role
from clients.permissions import MayAdminister, MayRun
from executions.models import Execution

MakeExecution = Callable[..., Execution]


def allowed(permission: type[BasePermission], caller: object, method: str) -> bool:
    request = APIView().initialize_request(RequestFactory().generic(method, "/"))
    request.user = caller
    return permission().has_permission(request, APIView())


@pytest.mark.parametrize(
    ("role", "run", "administer"),
    [(Role.CALLER, True, False), (Role.AUDITOR, False, False), (Role.ADMINISTRATOR, True, True)],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_role_allows(role: Role, run: bool, administer: bool, method: str) -> None:
    client = Client(role=role)
    assert (allowed(MayRun, client, method), allowed(MayAdminister, client, method)) == (run, administer)


@pytest.mark.parametrize("permission", [MayRun, MayAdminister])
@pytest.mark.parametrize("role", Role)
def test_every_role_may_look(role: Role, permission: type[BasePermission]) -> None:
    assert allowed(permission, Client(role=role), "GET")


@pytest.mark.parametrize("permission", [MayRun, MayAdminister])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nobody_may_do_nothing(permission: type[BasePermission], method: str) -> None:
    assert not allowed(permission, None, method)


def test_anybody_on_an_open_platform_may_run_and_not_administer() -> None:
    assert (allowed(MayRun, AnonymousCaller(), "POST"), allowed(MayAdminister, AnonymousCaller(), "POST")) == (
        True,
        False,
    )


@pytest.mark.parametrize(("role", "seen"), [(Role.CALLER, {"own"}), (Role.AUDITOR, {"own", "other", "nobody"})])
def test_role_sees(make_execution: MakeExecution, role: Role, seen: set[str]) -> None:
    me = Client.objects.create(name="me", role=role)
    for code, owner in {"own": me, "other": Client.objects.create(name="other"), "nobody": None}.items():
        make_execution(client=owner, code=code)
    assert {execution.code for execution in Execution.objects.visible_to(me)} == seen


def test_caller_without_a_token_sees_what_came_without_one(make_execution: MakeExecution) -> None:
    make_execution(client=Client.objects.create(name="other"))
    mine = make_execution(client=None)
    assert list(Execution.objects.visible_to(None)) == [mine]


def test_unknown_role_may_do_nothing() -> None:
    client = Client(role="root")
    assert not (client.may_run or client.may_administer or client.sees_everything)


def test_unknown_role_is_refused(db: None) -> None:
    with pytest.raises(IntegrityError, match="client_role_is_known"):
        Client.objects.create(name="me", role="root")
