"""Waiting for the migrations, which a Job of Kubernetes runs while the services start."""

import os
import subprocess
import sys
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from clients.models import Client
from sandbox_platform.kit.services import Service
from sandbox_platform.management.commands import await_migrations
from tests.live import ROOT
from tests.sandbox_platform.acting import acting_as, made, there_are_roles  # noqa: F401 -- fixtures


@pytest.mark.django_db(transaction=True)
def test_a_migrated_database_is_ready() -> None:
    output = StringIO()
    call_command("await_migrations", stdout=output)
    assert output.getvalue() == "The database is ready.\n"


def test_a_missing_migration_is_waited_for() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'usage'")
    assert "the first is usage." in await_migrations._not_applied()


@pytest.mark.parametrize("service", list(Service))
def test_each_service_sees_that_nothing_is_missing(settings: Any, service: Service) -> None:
    settings.SANDBOX_SERVICE = service.value
    with acting_as(service):
        assert await_migrations._not_applied() == ""
        assert list(await_migrations._not_granted()) == []


def test_a_grant_that_is_not_made_yet_is_waited_for(settings: Any) -> None:
    settings.SANDBOX_SERVICE = "callbacks"
    with connection.cursor() as cursor:
        cursor.execute(f"REVOKE DELETE ON django_q_ormq FROM {Service.CALLBACKS.role}")
    with acting_as(Service.CALLBACKS):
        assert list(await_migrations._not_granted()) == ["callbacks may not delete django_q_ormq yet"]


def test_a_column_that_is_not_granted_yet_is_waited_for(settings: Any) -> None:
    settings.SANDBOX_SERVICE = "egress"
    with connection.cursor() as cursor:
        cursor.execute(f"REVOKE SELECT ON {Client._meta.db_table} FROM {Service.EGRESS.role}")
    with acting_as(Service.EGRESS):
        assert list(await_migrations._not_granted()) == [f"egress may not select {Client._meta.db_table} yet"]


def test_a_postgres_that_is_away_is_waited_for() -> None:
    environment = {**os.environ, "DATABASE_URL": "postgresql://sandbox:x@127.0.0.1:1/sandbox"}
    command = [sys.executable, "manage.py", "await_migrations", "--only-connect"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        line = process.stdout.readline()
        is_over = process.poll() is not None
        process.kill()
    assert line.startswith("waiting: ") and "refused" in line.lower()
    assert not is_over
