"""Making the services' roles in Postgres, in a new database and in one of before."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from executions import services
from sandbox_platform import privileges, roles
from sandbox_platform.kit.services import Service
from tests.sandbox_platform.acting import (  # noqa: F401 -- fixtures
    MakeExecution,
    acting_as,
    attempt,
    made,
    there_are_roles,
)


def test_the_command_may_run_again() -> None:
    output = StringIO()
    call_command("grant_roles", stdout=output)
    assert output.getvalue().count("updated") == len(Service)


def test_what_is_no_longer_declared_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(privileges.PRIVILEGES, Service.EGRESS, {})
    roles.ensure()
    assert "permission denied" in attempt(Service.EGRESS, "SELECT * FROM executions_egressrule")


def test_a_role_that_belongs_to_another_is_refused() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"GRANT pg_write_all_data TO {Service.WEB.role}")
    with pytest.raises(CommandError, match="sandbox_web"):
        call_command("grant_roles", stdout=StringIO())


def test_a_shared_role_is_left_alone(settings: Any) -> None:
    settings.DATABASE_IS_SHARED = True
    output = StringIO()
    call_command("grant_roles", unless_shared=True, stdout=output)
    assert "not used" in output.getvalue()


def test_the_script_has_the_same_statements() -> None:
    output = StringIO()
    call_command("grant_roles", print=True, stdout=output)
    assert 'CREATE ROLE "sandbox_web" LOGIN;' in output.getvalue()
    assert "CREATE POLICY" in output.getvalue()


def test_the_builder_has_a_role_only_where_there_is_one(settings: Any) -> None:
    """Where somebody else makes the roles, an upgrade asks for none that nobody needs."""
    settings.SANDBOX_BUILDER = "docker"
    assert "sandbox_builder" not in roles.as_script()
    assert Service.BUILDER in roles.used({"sandbox_builder"})
    settings.SANDBOX_BUILDER = "buildah"
    assert 'CREATE ROLE "sandbox_builder" LOGIN;' in roles.as_script()


def test_every_label_and_column_exists() -> None:
    for service in Service:
        assert list(privileges.grants(service))


# What turns the tables over to another role, which is no superuser: as in the stack, and in installations of before.
HAND_OVER = """
    DO $$
    DECLARE
        it record;
    BEGIN
        SET CONSTRAINTS ALL IMMEDIATE;
        EXECUTE format('ALTER DATABASE %%I OWNER TO former', current_database());
        FOR it IN SELECT oid::regclass AS name FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') LOOP
            EXECUTE format('ALTER TABLE %%s OWNER TO former', it.name);
        END LOOP;
        FOR it IN SELECT oid::regprocedure AS name FROM pg_proc WHERE pronamespace = 'public'::regnamespace LOOP
            EXECUTE format('ALTER FUNCTION %%s OWNER TO former', it.name);
        END LOOP;
    END $$
""".replace("%%", "%")


def test_a_database_whose_one_role_owned_everything_gets_roles(
    settings: Any, make_execution: MakeExecution
) -> None:
    execution = make_execution()
    settings.SANDBOX_DATABASE_ROLE_PREFIX = "upgraded"
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE former LOGIN CREATEROLE")
        cursor.execute(HAND_OVER)
        cursor.execute("SET LOCAL SESSION AUTHORIZATION former")
        roles.ensure()
        roles.ensure()
        cursor.execute("RESET SESSION AUTHORIZATION")
    with acting_as(Service.WEB), connection.cursor() as cursor:
        cursor.execute("SELECT code FROM executions_execution WHERE id = %s", [execution.pk])
        services.RUN.enqueue(str(execution.pk))
    assert "must be owner" in attempt(Service.WEB, "ALTER TABLE executions_execution DISABLE TRIGGER audit_guard")
    assert "permission denied" in attempt(Service.EGRESS, "SELECT code FROM executions_execution")


def test_without_createrole_the_command_says_what_is_missing(settings: Any) -> None:
    settings.SANDBOX_DATABASE_ROLE_PREFIX = "upgraded"
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE former LOGIN")
        cursor.execute(HAND_OVER)
        cursor.execute("SET LOCAL SESSION AUTHORIZATION former")
    with pytest.raises(CommandError, match="CREATEROLE"):
        call_command("grant_roles", stdout=StringIO())


def test_passwords_are_set_and_only_their_hash_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_DATABASE_WEB_PASSWORD", "of the web")
    assert "database role sandbox_web: updated" in roles.ensure()
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [Service.WEB.role])
        assert cursor.fetchone()[0].startswith("SCRAM-SHA-256$")


def test_roles_that_somebody_else_made_get_their_rights(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SANDBOX_DATABASE_ROLE_PREFIX = "upgraded"
    monkeypatch.setenv("SANDBOX_DATABASE_WEB_PASSWORD", "of the web")
    with connection.cursor() as cursor:
        for service in Service:
            cursor.execute(f"CREATE ROLE {service.role} LOGIN")
        cursor.execute("CREATE ROLE former LOGIN")
        cursor.execute(HAND_OVER)
        cursor.execute("SET LOCAL SESSION AUTHORIZATION former")
        assert "database role upgraded_web: updated, password left unchanged" in roles.ensure()
        cursor.execute("RESET SESSION AUTHORIZATION")
    with acting_as(Service.WEB):
        services.RUN.enqueue("1")
