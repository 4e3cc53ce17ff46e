"""Upgrade a database of version 0.1, which has 39 migrations, to one initial migration per app.

The tables keep their names and rows. The upgrade adds two columns and changes what Django and django-pgtrigger record:
the list of applied migrations, the apps that models belong to, and the names of triggers.
"""

import json
from collections.abc import Iterator

import pgtrigger
from django.apps import apps
from django.db import connection, transaction
from django_q.models import OrmQ

from sandbox_platform.kit.locks import Lock

# The last migration of each app at 0.1.
LAST = {
    "audit": "0008_egress",
    "console": "0001_initial",
    "executions": "0019_sandbox_memory",
    "runtimes": "0007_network_recorded",
    "seccomp_profiles": "0004_revisions_recorded",
}
# App at 0.1, present app, and the models that moved.
MOVED = (
    ("executions", "clients", ("client", "token", "clientusage")),
    ("executions", "sandboxes", ("sandbox",)),
    ("executions", "callbacks", ("delivery", "deliveryattempt")),
    ("executions", "egress", ("egressrule", "egressrequest")),
    ("runtimes", "builds", ("runtimebuild",)),
    ("seccomp_profiles", "inspections", ("inspection",)),
    ("audit", "redaction", ("redactionpattern",)),
    ("console", "executions", ("hourlycount", "hourlytime", "rollup", "savedsearch")),
)
# Moved functions that queued tasks of 0.1 may name. Keepers queue builds and inspections again. The doctor's checks and
# activations must be requested again.
MOVED_TASKS = ("executions.builds.", "seccomp_profiles.tasks.", "console.doctor.")
# Suffixes of the artifacts that 0.1 kept for RAGFlow.
RAGFLOW_SUFFIXES = [".png", ".jpg", ".jpeg", ".svg", ".pdf", ".csv", ".json", ".html"]
# Finished executions are final and keep all their artifacts: null permits every suffix.
COLUMNS = """
    ALTER TABLE executions_execution ADD COLUMN announce_start boolean NOT NULL DEFAULT true;
    ALTER TABLE executions_execution ALTER COLUMN announce_start DROP DEFAULT;
    ALTER TABLE executions_execution ADD COLUMN artifact_suffixes jsonb NULL;
"""
# Set the values that submission sets now, for executions that have not finished.
OPEN_OF_RAGFLOW = """
    UPDATE executions_execution SET announce_start = false, artifact_suffixes = %s::jsonb
    WHERE endpoint = 'ragflow' AND status IN ('queued', 'running')
"""
OPEN_WITH_EGRESS = """
    UPDATE executions_execution e SET network = 'egress'
    FROM runtimes_runtime r, executions_client c
    WHERE r.id = e.runtime_id AND c.id = e.client_id AND r.network = 'egress' AND c.network = 'egress'
        AND e.status = 'queued' AND NOT e.pinned
"""
# Counts live keepers, workers and callbacks of 0.1, by their two-number locks. With two numbers, 0.1 used SEAL's for
# callbacks.
ALIVE = """
    SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND classid::bigint = ANY(%s)
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
TRIGGERS = """
    SELECT format('DROP TRIGGER %I ON %I', t.tgname, c.relname) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE NOT t.tgisinternal AND t.tgname LIKE 'pgtrigger\\_%'
    UNION ALL
    SELECT format('DROP FUNCTION %I()', p.proname) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = 'public' AND p.proname LIKE 'pgtrigger\\_%'
"""


class NotPossible(Exception):
    """The database cannot be upgraded in its current state. The message gives the reason and the remedy."""


def applied() -> dict[str, str]:
    """Return the newest applied migration by app, for our apps. An empty database gives {}."""
    with connection.cursor() as cursor:
        if "django_migrations" not in connection.introspection.table_names(cursor):
            return {}
        cursor.execute("SELECT app, max(name) FROM django_migrations GROUP BY app")
        ours = {config.label for config in apps.get_app_configs()} | set(LAST)
        return {app: name for app, name in cursor.fetchall() if app in ours}


def is_before_the_rooms() -> bool:
    """Return whether this is a database of version 0.1, at any of its migrations."""
    found = applied()
    return "executions" in found and "clients" not in found


def upgrade() -> Iterator[str]:
    """Upgrade in one transaction and yield one line per step. Raises NotPossible before any change."""
    if not is_before_the_rooms():
        yield "nothing to do: this database has no migrations of 0.1"
        return
    _refuse_unless_ready()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(COLUMNS)
        cursor.execute(TRIGGERS)
        for (statement,) in cursor.fetchall():
            cursor.execute(statement)
        pgtrigger.install()
        yield "triggers: reinstalled under their new names"
        cursor.execute(OPEN_OF_RAGFLOW, [json.dumps(RAGFLOW_SUFFIXES)])
        cursor.execute(OPEN_WITH_EGRESS)
        for old, new, models in MOVED:
            cursor.execute(
                "UPDATE django_content_type SET app_label = %s WHERE app_label = %s AND model = ANY(%s)",
                [new, old, list(models)],
            )
        yield "content types, permissions and the admin's log: moved with their models"
        yield f"queue: removed {_drop_moved_tasks()} tasks that name moved functions"
        cursor.execute("DELETE FROM django_migrations WHERE app = ANY(%s)", [list(LAST)])
        ours = sorted({new for _, new, _ in MOVED} | set(LAST))
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied) SELECT unnest(%s::text[]), '0001_initial', now()",
            [ours],
        )
        yield f"migrations: recorded one for each of {', '.join(ours)}"


def _refuse_unless_ready() -> None:
    found = applied()
    if behind := {app: found.get(app, "none") for app, name in LAST.items() if found.get(app) != name}:
        states = ", ".join(f"{app} is at {name} instead of {LAST[app]}" for app, name in behind.items())
        raise NotPossible(
            f"Migrations of 0.1 are missing: {states}. Run `manage.py migrate` of version 0.1 first."
        )
    with connection.cursor() as cursor:
        cursor.execute(ALIVE, [[Lock.KEEPER, Lock.WORKER, Lock.SEAL]])
        if cursor.fetchone()[0]:
            raise NotPossible("Workers, keepers or callbacks are running. Stop them first: `make stop`.")


def _drop_moved_tasks() -> int:
    # A task signed with another DJANGO_SECRET_KEY is unreadable here, and for workers too.
    moved = [row.pk for row in OrmQ.objects.all() if str(row.task.get("func")).startswith(MOVED_TASKS)]
    return int(OrmQ.objects.filter(pk__in=moved).delete()[0])
