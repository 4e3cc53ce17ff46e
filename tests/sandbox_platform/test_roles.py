"""Each service's role in Postgres: what it must not be able to do, tried as that role, and what it must."""

import re
from datetime import timedelta

import pytest
from django.db import ProgrammingError, connection
from pytest_django import Settings

from audit import sealing, verifications
from audit.models import Act, Leaf, Pending, RetentionPolicy, ShownSecret
from audit.models.verifications import VerificationState
from builds.services import BUILD
from clients.models import Client
from clients.storage import add_up
from console.models import JobRun
from executions import services, storage
from executions.callbacks.deliveries import DELIVER, give_up_excess
from executions.egress import gateway, policy
from executions.egress.models import EgressRule
from executions.egress.policy import ProxyRequest
from executions.models import Outcome, Status
from runtimes.models import Network, Runtime
from sandbox_platform.kit import acts, disclosures, jobs, tasks
from sandbox_platform.kit.acts import Kind
from sandbox_platform.kit.jobs import Job
from sandbox_platform.kit.services import Service
from sandboxes.models import Sandbox, SandboxState
from seccomp_profiles.models import SeccompProfile, hash_rules
from tests.sandbox_platform.acting import (  # noqa: F401 -- fixtures
    MakeExecution,
    acting_as,
    attempt,
    made,
    there_are_roles,
)

EVERY_ROLE = list(Service)


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


def test_egress_learns_who_is_behind_a_door(make_execution: MakeExecution, python_runtime: Runtime) -> None:
    execution = make_execution(status=Status.RUNNING, network=Network.EGRESS)
    sandbox = Sandbox.objects.create(
        node="a", runtime=python_runtime, runtime_revision=1, profile_sha256=hash_rules(None),
        network=Network.EGRESS, state=SandboxState.CLAIMED, execution_id=execution.pk,
    )  # fmt: skip
    with acting_as(Service.EGRESS):
        assert gateway.execution_behind("a", sandbox.pk) == execution.pk
        assert gateway.execution_behind("b", sandbox.pk) is None
        assert gateway.executions_behind({sandbox.pk}) == {("a", sandbox.pk): execution.pk}
        assert gateway.trace_of(execution.pk) == ""
        assert (policy.count_of(execution.pk), policy.bytes_of(execution.pk)) == (0, 0)


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


@pytest.mark.parametrize("service", [Service.WEB, Service.WORKER])
def test_who_acts_records_it(service: Service) -> None:
    with acting_as(service):
        acts.done(Kind.CHECKED, "node x")
    assert Act.objects.count() == 1


@pytest.mark.parametrize("service", EVERY_ROLE)
@pytest.mark.parametrize("table", ["audit_act", "audit_actevent", "audit_settingevent"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET name = ''", "DELETE FROM {}"])
def test_nobody_changes_recorded_acts_and_settings(service: Service, table: str, statement: str) -> None:
    assert "permission denied" in attempt(service, statement.format(table))


@pytest.mark.parametrize("service", EVERY_ROLE)
@pytest.mark.parametrize("statement", ["SELECT secret_hash FROM audit_setting", "DELETE FROM audit_setting"])
def test_the_settings_of_a_start_are_the_owner_s(service: Service, statement: str) -> None:
    assert "permission denied" in attempt(service, statement)


def test_the_web_asks_for_a_verification_and_a_worker_does_it(make_execution: MakeExecution) -> None:
    make_execution()
    sealing.seal()
    with acting_as(Service.WEB):
        row = verifications.start(1, 1, by="admin", http=None)
    with acting_as(Service.WORKER):
        verifications.run(row.pk)
    row.refresh_from_db()
    assert (row.state, row.findings) == (VerificationState.OK, [])


def test_the_keeper_records_its_jobs() -> None:
    with acting_as(Service.KEEPER):
        jobs.run(Job("of the test", "", timedelta(hours=1), int))
    assert JobRun.objects.get().ended_at
