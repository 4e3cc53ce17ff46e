"""The database roles of the services: made, and given what privileges.py declares, by the owner of the tables."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.db import ProgrammingError, connection, transaction
from django_q.models import OrmQ
from psycopg import sql

from sandbox_platform import privileges
from sandbox_platform.kit import tasks
from sandbox_platform.kit.env import envsecret
from sandbox_platform.kit.services import Service

QUEUE = OrmQ._meta.db_table
# Services that take from their own queue only, and see no other.
OWN_QUEUE = {Service.CALLBACKS: settings.CALLBACK_CLUSTER, Service.BUILDER: settings.BUILD_CLUSTER}
# Roles of other installations, of superusers, or of somebody who belongs to the owner would void what follows.
TOO_MIGHTY = """
    SELECT rolname FROM pg_roles r WHERE rolname = ANY(%s) AND (
        rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
        OR EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid))
"""


class RolesUnusable(Exception):
    """The roles cannot be made as they must be. The message says why."""


def password_of(service: Service) -> str:
    return envsecret(f"SANDBOX_DATABASE_{service.upper()}_PASSWORD")


def statements(existing: set[str]) -> Iterator[sql.Composable]:
    """Yield what makes the roles, without their passwords. `existing`: roles that the cluster has."""
    database = sql.Identifier(connection.settings_dict["NAME"])
    # A temporary table could carry a trigger of its own, and pass for one of the platform's.
    yield sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(database)
    yield sql.SQL("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    functions = sorted({each for of_service in privileges.FUNCTIONS.values() for each in of_service})
    for function in functions:
        yield sql.SQL(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
    for service in used(existing):
        role = sql.Identifier(service.role)
        if service.role not in existing:
            yield sql.SQL("CREATE ROLE {} LOGIN").format(role)
        yield sql.SQL("REVOKE ALL ON DATABASE {} FROM {}").format(database, role)
        yield sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, role)
        yield sql.SQL("REVOKE ALL ON SCHEMA public FROM {}").format(role)
        yield sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(role)
        yield sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(role)
        yield sql.SQL("REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {}").format(role)
        for table, privileges_ in privileges.grants(service):
            # The words come from privileges.py.
            words = sql.SQL(privileges_)
            yield sql.SQL("GRANT {} ON {} TO {}").format(words, sql.Identifier(table), role)
        for function in functions:
            yield sql.SQL(f"REVOKE ALL ON FUNCTION {function} FROM {{}}").format(role)
        for function in privileges.FUNCTIONS.get(service, ()):
            yield sql.SQL(f"GRANT EXECUTE ON FUNCTION {function} TO {{}}").format(role)
    yield from _queue_policies(used(existing))


def used(existing: set[str]) -> list[Service]:
    """Return the services that have a role: the builder only where there is one, or was.

    Somebody else may have made the roles, and would have to make one that nobody needs.
    """
    has_builder = settings.SANDBOX_BUILDER == "buildah" or Service.BUILDER.role in existing
    return [service for service in Service if service != Service.BUILDER or has_builder]


def _queue_policies(services: Iterable[Service]) -> Iterator[sql.Composable]:
    """Which tasks a service may enqueue, and from which queues it may take. The owner of the table is exempt.

    jsonb and Python's json take the same of two equal keys, the last one.
    """
    table = sql.Identifier(QUEUE)
    yield sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(table)
    for service in services:
        own = OWN_QUEUE.get(service)
        seen = sql.SQL("key = {}").format(own) if own else sql.SQL("true")
        sent: list[sql.Composable] = [
            sql.SQL("(key, payload::jsonb ->> 'task') = ({}, {})").format(task.queue, task.name)
            for task in tasks.declared()
            if service in task.senders
        ]
        # Whoever inserts a row reads its number.
        sent_elsewhere = own and any(service in task.senders and task.queue != own for task in tasks.declared())
        read = sql.SQL(" OR ").join([seen, *sent]) if sent_elsewhere else seen
        clauses = {
            "SELECT": sql.SQL("USING ({})").format(read),
            "DELETE": sql.SQL("USING ({})").format(seen),
            # To lock a row, and no more.
            "UPDATE": sql.SQL("USING ({}) WITH CHECK (false)").format(seen),
            "INSERT": sql.SQL("WITH CHECK ({})").format(sql.SQL(" OR ").join(sent or [sql.SQL("false")])),
        }
        for verb, clause in clauses.items():
            policy, role = sql.Identifier(f"{service}_{verb.lower()}"), sql.Identifier(service.role)
            yield sql.SQL("DROP POLICY IF EXISTS {} ON {}").format(policy, table)
            yield sql.SQL(f"CREATE POLICY {{}} ON {{}} FOR {verb} TO {{}} {{}}").format(
                policy, table, role, clause
            )


@transaction.atomic
def ensure() -> list[str]:
    """Make the roles, set their passwords and privileges. Return a line of text for each. Raises RolesUnusable."""
    names = [service.role for service in Service]
    done = []
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [names])
        existing = {name for (name,) in cursor.fetchall()}
        cursor.execute(TOO_MIGHTY, [names])
        if mighty := cursor.fetchall():
            raise RolesUnusable(f"{mighty[0][0]} is a superuser, may create roles, or belongs to another role")
        for statement in statements(existing):
            cursor.execute(statement)
        for service in used(existing):
            is_set = _set_password(cursor, service.role, password_of(service))
            state = "updated" if service.role in existing else "created"
            done.append(f"database role {service.role}: {state}" + ("" if is_set else ", password left unchanged"))
    return done


def _set_password(cursor: Any, role: str, password: str) -> bool:
    """Return False if there is no password, or somebody else made the role and has to set it."""
    if not password:
        return False
    # Only the hash is sent: the server's log may hold the statement.
    hashed = connection.connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(hashed.decode()))
    try:
        with transaction.atomic():
            cursor.execute(statement)
    except ProgrammingError:
        return False
    return True


def as_script() -> str:
    """Return the statements for somebody who creates roles by hand."""
    connection.ensure_connection()
    return "".join(statement.as_string(connection.connection) + ";\n" for statement in statements(set()))
