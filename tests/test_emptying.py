"""What a test has committed is gone for the next one, and Postgres watches again: see emptying.py."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import ProgrammingError, connection, transaction
from django.db.utils import InternalError
from django.test import TransactionTestCase

from audit import sealing
from audit.models import Leaf
from audit.models.changes import ClientEvent
from clients.models import Client
from console import roles
from executions.models import Execution
from tests import emptying

pytestmark = pytest.mark.django_db(transaction=True)
# Not that of emptying.py, which it checks.
KEPT = {"auth_group", "auth_group_permissions", "auth_permission", "django_content_type"}
ROLES = {roles.ADMINISTRATOR, roles.OPERATOR, roles.AUDITOR}


@pytest.fixture
def left_behind(make_execution: Callable[..., Execution], administrator: User) -> Execution:
    """Rows of many tables, among them history, which refuses to be deleted."""
    execution = make_execution(client=Client.objects.create(name="one"))
    group = Group.objects.create(name="of a test")
    group.permissions.add(Permission.objects.order_by("pk")[0])
    administrator.groups.add(group)
    sealing.seal()
    assert Leaf.objects.exists()
    return execution


def filled() -> set[str]:
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    with connection.cursor() as cursor:
        cursor.execute(
            " UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT FROM \"{name}\")" for name in tables)
        )
        return {name for (name,) in cursor.fetchall()}


def test_no_table_keeps_rows_but_those_of_a_migrated_database(left_behind: Execution) -> None:
    assert len(filled() - KEPT) > 8
    emptying.empty()
    assert filled() == KEPT


def test_the_roles_of_people_stay_and_other_groups_go(left_behind: Execution) -> None:
    before = set(
        Group.permissions.through.objects.filter(group__name__in=ROLES).values_list("group", "permission")
    )
    emptying.empty()
    assert set(Group.objects.values_list("name", flat=True)) == ROLES
    assert set(Group.permissions.through.objects.values_list("group", "permission")) == before != set()


def test_history_is_history_again_afterwards(
    left_behind: Execution, make_execution: Callable[..., Execution]
) -> None:
    emptying.empty()
    client = Client.objects.create(name="two")
    assert ClientEvent.objects.filter(pgh_obj_id=client.pk).exists()
    runtime = left_behind.runtime
    runtime.save(force_insert=True)
    execution = make_execution(runtime=runtime)
    with pytest.raises((InternalError, ProgrammingError), match="Cannot update or delete"), transaction.atomic():
        Execution.objects.filter(pk=execution.pk)._raw_delete("default")


def test_it_stands_in_for_flush(left_behind: Execution) -> None:
    TransactionTestCase()._fixture_teardown()
    assert filled() == KEPT
