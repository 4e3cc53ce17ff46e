"""Partitions of the history, with the roles of an installation: the owner is no superuser, the keeper owns nothing."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.conf import settings as of_django
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import DjangoDbBlocker, Settings

from audit import partitions, sealing
from audit.models import RetentionPolicy
from executions.models import Artifact, Execution, Rollup
from executions.parts import history_parts
from sandbox_platform import roles
from sandbox_platform.kit.services import Service
from tests.audit.conftest import execute
from tests.sandbox_platform.acting import (  # noqa: F401 -- fixtures
    MakeExecution,
    acting_as,
    attempt,
    made,
    there_are_roles,
)
from tests.sandbox_platform.test_grant_roles import HAND_OVER
from usage.models import Counted

AGO = timedelta(days=100)
PREFIX = "monthly"


@pytest.fixture(scope="module")
def partitioned(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Partitions that the owner has made, as `make` gives it the tables."""
    with django_db_blocker.unblock(), transaction.atomic(), connection.cursor() as cursor:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(of_django, "SANDBOX_DATABASE_ROLE_PREFIX", PREFIX)
            cursor.execute("CREATE ROLE former LOGIN CREATEROLE")
            cursor.execute(HAND_OVER)
            cursor.execute("SET LOCAL SESSION AUTHORIZATION former")
            roles.ensure()
            partitions.convert(lambda step: None, at=timezone.now() - AGO)
            cursor.execute("RESET SESSION AUTHORIZATION")
        yield
        transaction.set_rollback(True)


@pytest.fixture
def months(settings: Settings, partitioned: None) -> None:
    settings.SANDBOX_DATABASE_ROLE_PREFIX = PREFIX


@pytest.mark.parametrize("service", [service for service in Service if service != Service.KEEPER])
@pytest.mark.parametrize("call", ["ahead()", "analyze()", "drop('executions_execution_before')"])
def test_only_the_keeper_may_call_for_changes(service: Service, call: str) -> None:
    assert "permission denied for function" in attempt(service, f"SELECT history_{call}")


def test_the_keeper_makes_months_and_drops_what_is_due(months: None, make_execution: MakeExecution) -> None:
    due = partitions.next_month(timezone.now() - AGO + partitions.TO_SPARE) + timedelta(days=9)
    execution = make_execution(queued_at=due, finished_at=due)
    Artifact.objects.create(execution=execution, name="a", content=b"x", size=1)
    sealing.seal()
    RetentionPolicy.objects.create(keep_metadata_days=1)
    Counted.objects.create(up_to=timezone.now())
    Rollup.objects.update_or_create(id=1, defaults={"up_to": timezone.now()})
    before = history_parts()
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    execute(f"DROP TABLE {before[-2].name}")
    with acting_as(Service.KEEPER):
        assert partitions.make_ahead() == 1
        assert [record.ids for record in partitions.drop_due()] == [[execution.pk]]
    assert not Execution.objects.exists()
    assert history_parts()[-2:] == before[-2:]


def test_the_keeper_may_not_drop_by_itself(months: None) -> None:
    assert "must be owner" in attempt(Service.KEEPER, "DROP TABLE executions_execution_before")
    assert "permission denied" in attempt(Service.KEEPER, "SELECT id FROM executions_execution_before")
    assert "permission denied" in attempt(Service.KEEPER, "DELETE FROM executions_idempotency")


def test_services_use_the_history_as_before(months: None, make_execution: MakeExecution) -> None:
    with acting_as(Service.WEB):
        execution = make_execution(idempotency_key="k", status="queued")
        assert Execution.objects.get(idempotency_key="k") == execution
    with acting_as(Service.WORKER):
        assert Execution.objects.filter(pk=execution.pk).update(status="running") == 1
        Artifact.objects.create(execution=execution, name="a", content=b"x", size=1)
    assert "permission denied" in attempt(Service.EGRESS, "SELECT code FROM executions_execution")
    with acting_as(Service.EGRESS), connection.cursor() as cursor:
        cursor.execute("SELECT status FROM executions_execution")
        assert cursor.fetchall() == [("running",)]
