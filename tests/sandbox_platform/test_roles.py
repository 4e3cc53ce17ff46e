"""Each service's role in Postgres: what it must not be able to do, tried as that role, and what it must."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import Error, ProgrammingError, connection, transaction
from psycopg import sql
from pytest_django import DjangoDbBlocker, Settings

from audit.models import Leaf, Pending, RetentionPolicy, ShownSecret
from builds.services import BUILD
from clients.models import Client
from clients.storage import add_up
from executions import services, storage
from executions.callbacks.deliveries import DELIVER, give_up_excess
from executions.egress import policy
from executions.egress.models import EgressRule
from executions.egress.policy import ProxyRequest
from executions.models import Execution, Outcome, Status
from runtimes.models import Network, Runtime
from sandbox_platform import privileges, roles
from sandbox_platform.kit import disclosures, tasks
from sandbox_platform.kit.services import Service
from sandboxes.models import Sandbox, SandboxState
from seccomp_profiles.models import SeccompProfile

MakeExecution = Callable[..., Execution]
EVERY_ROLE = list(Service)


@pytest.fixture(scope="module")
def made(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    with django_db_blocker.unblock():
        roles.ensure()


@pytest.fixture(autouse=True)
def there_are_roles(made: None, db: None) -> None:
    pass


@contextmanager
def acting_as(service: Service) -> Iterator[None]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql.SQL("SET LOCAL SESSION AUTHORIZATION {}").format(sql.Identifier(service.role)))
        yield
        cursor.execute("RESET SESSION AUTHORIZATION")


def attempt(service: Service, statement: str, *parameters: Any) -> str:
    """Why the role may not; fails if it may."""
    with pytest.raises(Error) as refused, acting_as(service), connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
    return str(refused.value)


@pytest.mark.parametrize("service", EVERY_ROLE)
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE ROLE mine",
        "ALTER TABLE executions_execution ADD COLUMN mine int",
        "ALTER TABLE executions_execution DISABLE TRIGGER ALL",
        "ALTER TABLE executions_execution DISABLE TRIGGER audit_guard",
        "ALTER TABLE audit_seal DISABLE TRIGGER audit_append_only",
        "ALTER TABLE django_q_ormq DISABLE ROW LEVEL SECURITY",
        "DROP TRIGGER audit_guard ON executions_execution",
        "DROP TABLE audit_seal",
        "SET session_replication_role = replica",
        "CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "ALTER FUNCTION audit_refuse() RENAME TO mine",
        "TRUNCATE executions_execution CASCADE",
        "TRUNCATE audit_seal",
        "UPDATE audit_seal SET hash = ''",
        "DELETE FROM audit_seal",
        "UPDATE audit_leaf SET row_id = ''",
        "DELETE FROM audit_leaf",
        "UPDATE audit_purgerecord SET count = 0",
        "DELETE FROM audit_purgerecord",
        "DELETE FROM audit_sealkey",
        "UPDATE audit_sealkey SET fingerprint = ''",
        "DELETE FROM audit_runtimeevent",
        "UPDATE audit_clientevent SET name = ''",
        "INSERT INTO audit_pending (source, row_id) VALUES ('mine', '1')",
        "UPDATE audit_pending SET row_id = ''",
        "UPDATE django_q_ormq SET payload = ''",
        "INSERT INTO executions_storagechange (client_id, bytes) VALUES (1, -1)",
        "DELETE FROM django_migrations",
        "INSERT INTO django_q_schedule (func) VALUES ('os.system')",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT passwd FROM pg_shadow",
        "COPY audit_seal TO PROGRAM 'cat'",
    ],
)
def test_no_role_may(service: Service, statement: str) -> None:
    assert re.search("permission denied|must be owner", attempt(service, statement))


@pytest.mark.parametrize("service", [each for each in EVERY_ROLE if each != Service.KEEPER])
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO audit_seal (sequence) VALUES (1)",
        "INSERT INTO audit_leaf (seal) VALUES (1)",
        "INSERT INTO audit_sealkey (fingerprint) VALUES ('')",
        "INSERT INTO audit_purgerecord (kind) VALUES ('code')",
        "DELETE FROM audit_pending",
        "DELETE FROM executions_execution",
        "DELETE FROM executions_inputfile",
        "DELETE FROM executions_artifact",
        "DELETE FROM executions_egressrequest",
    ],
)
def test_only_the_keeper_seals_and_purges(service: Service, statement: str) -> None:
    assert "permission denied" in attempt(service, statement)


@pytest.mark.parametrize("service", [each for each in EVERY_ROLE if each != Service.WEB])
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT password FROM auth_user",
        "UPDATE auth_user SET is_superuser = true",
        "SELECT * FROM django_session",
        "INSERT INTO django_session VALUES ('a', '', now())",
        "SELECT token_sha256 FROM executions_token",
        "UPDATE executions_client SET role = 'administrator'",
        "INSERT INTO audit_clientevent (pgh_label) VALUES ('insert')",
    ],
)
def test_only_the_web_has_people_and_clients(service: Service, statement: str) -> None:
    assert "permission denied" in attempt(service, statement)


@pytest.mark.parametrize("service", [Service.CALLBACKS, Service.EGRESS])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE executions_execution SET message = ''",
        "INSERT INTO executions_execution (code) VALUES ('')",
        "UPDATE runtimes_runtime SET image = ''",
        "UPDATE runtimes_runtimebuild SET state = ''",
        "UPDATE executions_sandbox SET state = ''",
        "SELECT * FROM executions_inputfile",
        "SELECT * FROM executions_artifact",
    ],
)
def test_callbacks_and_egress_have_no_other_tables(service: Service, statement: str) -> None:
    assert "permission denied" in attempt(service, statement)


def test_the_web_turns_no_sandbox_into_another_container() -> None:
    assert "permission denied" in attempt(Service.WEB, "UPDATE executions_sandbox SET container_id = 'postgres'")
    with acting_as(Service.WEB):
        Sandbox.objects.filter(state=SandboxState.READY).update(state=SandboxState.USED)


@pytest.mark.parametrize("column", ["code", "stdin", "stdout", "result", "arguments", "*"])
def test_egress_sees_no_program(column: str) -> None:
    assert "permission denied" in attempt(Service.EGRESS, f"SELECT {column} FROM executions_execution")


@pytest.mark.parametrize(
    "statement", ["SELECT environment FROM runtimes_runtime", "SELECT * FROM executions_client"]
)
def test_egress_sees_no_credentials(statement: str) -> None:
    assert "permission denied" in attempt(Service.EGRESS, statement)


@pytest.mark.parametrize("service", [Service.WEB, Service.WORKER, Service.KEEPER])
def test_a_finished_execution_does_not_change(service: Service, make_execution: MakeExecution) -> None:
    execution = make_execution()
    why = attempt(service, "UPDATE executions_execution SET message = 'x' WHERE id = %s", execution.pk)
    assert "final" in why or "history" in why


@pytest.mark.parametrize("service", [Service.WEB, Service.WORKER, Service.KEEPER])
def test_ignoring_triggers_does_not_help(service: Service, make_execution: MakeExecution) -> None:
    execution = make_execution()
    statement = (
        "SET LOCAL pgtrigger.ignore = '{executions.Execution:*}'; UPDATE executions_execution SET code = ''"
    )
    assert attempt(service, f"{statement} WHERE id = '{execution.pk}'")


def test_the_web_cannot_write_a_change_that_did_not_happen() -> None:
    statement = "INSERT INTO audit_runtimeevent SELECT * FROM audit_runtimeevent LIMIT 0"
    with acting_as(Service.WEB), connection.cursor() as cursor:
        cursor.execute(statement)  # it may insert, for the trigger
    columns = "pgh_created_at, pgh_label, id"
    why = attempt(Service.WEB, f"INSERT INTO audit_runtimeevent ({columns}) VALUES (now(), 'update', 1)")
    assert "only triggers" in why


# --- The queue ---

SENDERS = [(service, task) for service in Service for task in tasks.declared() if task.name != "trial"]


@pytest.mark.parametrize(("service", "task"), SENDERS, ids=lambda each: getattr(each, "name", str(each)))
def test_a_task_is_enqueued_by_its_senders_only(service: Service, task: tasks.Task) -> None:
    if service in task.senders:
        with acting_as(service):
            task.enqueue("1")
    else:
        with pytest.raises(ProgrammingError), acting_as(service):
            task.enqueue("1")


@pytest.mark.parametrize(
    ("key", "payload"),
    [
        ("sandbox-platform", '{"task": "deliver callback", "arguments": []}'),
        ("callbacks", '{"task": "run", "arguments": []}'),
        ("callbacks", '{"task": "deliver callback", "task": "run", "arguments": []}'),
        ("callbacks", '{"task": "run", "arguments": [], "\\u0074ask": "build"}'),
        ("callbacks", "no JSON"),
        ("callbacks", "null"),
    ],
)
def test_the_callbacks_role_cannot_disguise_a_task(key: str, payload: str) -> None:
    statement = "INSERT INTO django_q_ormq (key, payload, lock) VALUES (%s, %s, now())"
    assert attempt(Service.CALLBACKS, statement, key, payload)


def test_the_callbacks_role_sees_its_own_queue_only() -> None:
    services.RUN.enqueue("1")
    DELIVER.enqueue(1, 0)
    with acting_as(Service.CALLBACKS), connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_q_ormq RETURNING key")
        assert cursor.fetchall() == [("callbacks",)]


def test_a_queued_task_is_not_turned_into_another() -> None:
    BUILD.enqueue(1)
    DELIVER.enqueue(1, 0)
    for service in (Service.WORKER, Service.CALLBACKS):
        assert "row-level security" in attempt(service, "UPDATE django_q_ormq SET lock = now()")
        assert "permission denied" in attempt(service, "UPDATE django_q_ormq SET payload = payload")


# --- What works ---


def test_the_web_submits_and_a_worker_finishes(python_runtime: Runtime, make_execution: MakeExecution) -> None:
    with acting_as(Service.WEB):
        execution = make_execution(status=Status.QUEUED)
        services.enqueue(execution)
        assert services.cancel(execution.pk, outcome=Outcome.CANCEL_REQUESTED)
    # A trigger has queued the row for its seal, though the web may not.
    assert Pending.objects.filter(row_id=str(execution.pk)).exists()
    assert not Leaf.objects.exists()


def test_a_change_by_the_web_is_recorded_with_its_role(python_runtime: Runtime) -> None:
    with acting_as(Service.WEB):
        python_runtime.name = "Changed"
        python_runtime.save()
        Client.objects.create_with_token("another")
        RetentionPolicy.objects.create(keep_code_days=1)
        SeccompProfile.objects.create(name="mine").delete()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pgh_context -> 'database' ->> 'role' FROM audit_runtimeevent WHERE pgh_label = 'update'"
        )
        assert cursor.fetchall() == [(Service.WEB.role,)]


def test_egress_decides_and_records(make_execution: MakeExecution) -> None:
    client = Client.objects.create(name="outgoing", network=Network.EGRESS)
    Runtime.objects.update(network=Network.EGRESS)
    EgressRule.objects.create(domain="host.example")
    execution = make_execution(status=Status.RUNNING, network=Network.EGRESS, client=client)
    request = ProxyRequest(execution_id=execution.pk, method="GET", host="host.example", port=443)
    with acting_as(Service.EGRESS):
        decided = policy.decide(request, 0)
        assert decided is not None and decided.allowed
        list(EgressRule.objects.applying(runtime_id=execution.runtime_id, client_id=None))
        ended = policy.CompletedRequest(request, decided.pk, False, "", 200, "192.0.2.1", 1, 2)
        assert policy.complete(ended)


# --- Making the roles ---


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


def test_the_keeper_adds_up_and_recounts_what_clients_store(make_execution: MakeExecution) -> None:
    make_execution(client=Client.objects.create(name="dify"))
    with acting_as(Service.KEEPER):
        assert add_up() == 1
        assert storage.recount()["dify"] > 0


@pytest.mark.parametrize("service", [Service.WEB, Service.CALLBACKS])
def test_who_shows_secrets_records_it(service: Service) -> None:
    with acting_as(service):
        disclosures.shown("a secret")
    assert ShownSecret.objects.count() == 1


@pytest.mark.parametrize("service", [Service.WORKER, Service.KEEPER, Service.EGRESS])
def test_nobody_else_says_that_secrets_were_shown(service: Service) -> None:
    assert "permission denied" in attempt(
        service, "INSERT INTO audit_shownsecret (name, object_id) VALUES ('x', '')"
    )


def test_the_keeper_gives_up_callbacks(make_execution: MakeExecution, settings: Settings) -> None:
    settings.SANDBOX_CALLBACK_PENDING = 1
    for _ in range(2):
        make_execution(callback_url="https://example.com/")
    with acting_as(Service.KEEPER):
        assert give_up_excess() == 1
