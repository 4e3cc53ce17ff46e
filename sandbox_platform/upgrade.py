"""Upgrade a database of version 0.1, which has 39 migrations, to one initial migration per app.

The tables keep their names and rows. The upgrade adds two columns and changes what Django and django-pgtrigger record:
the list of applied migrations, the apps that models belong to, and the names of triggers.
"""

import json
from collections.abc import Iterator

from django.apps import apps
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader
from django_q.models import OrmQ, Task
from django_q.signing import SignedPackage

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
# The apps that have a migration now. All of them are at their first, the state that the upgrade leads to.
APPS = sorted({new for _, new, _ in MOVED} | set(LAST))
INITIAL = "0001_initial"
# Task functions that moved, by their name at 0.1. They take the same arguments.
MOVED_TASKS = {
    "executions.builds.tasks.run_build": "builds.tasks.run_build",
    "executions.builds.tasks.activate_build": "builds.tasks.activate_build",
    "seccomp_profiles.tasks.inspect": "inspections.tasks.inspect",
    "console.doctor.examine": "sandbox_platform.doctor.task.examine",
}
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
# Gives the statements that remove the triggers of django-pgtrigger and their functions. The guards of history stay.
OLD_TRIGGERS = """
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
        cursor.execute(OLD_TRIGGERS)
        for (statement,) in cursor.fetchall():
            cursor.execute(statement)
        for statement in _new_triggers():
            cursor.execute(statement)
        yield "triggers: reinstalled under their new names"
        cursor.execute(OPEN_OF_RAGFLOW, [json.dumps(RAGFLOW_SUFFIXES)])
        cursor.execute(OPEN_WITH_EGRESS)
        for old, new, models in MOVED:
            cursor.execute(
                "UPDATE django_content_type SET app_label = %s WHERE app_label = %s AND model = ANY(%s)",
                [new, old, list(models)],
            )
        yield "content types, permissions and the admin's log: moved with their models"
        yield f"tasks: {_rename_tasks()} name functions that moved; they got the new names"
        cursor.execute("DELETE FROM django_migrations WHERE app = ANY(%s)", [list(LAST)])
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied) SELECT unnest(%s::text[]), %s, now()",
            [APPS, INITIAL],
        )
        yield f"migrations: recorded one for each of {', '.join(APPS)}"


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


def _new_triggers() -> Iterator[str]:
    # From the initial migrations, not the models: the models may have columns that only a later migration adds.
    state = MigrationLoader(None).project_state([(app, INITIAL) for app in APPS])
    for model in state.models.values():
        for trigger in model.options.get("triggers", []):
            yield trigger.install_sql


def _rename_tasks() -> int:
    """Rename the functions of queued and of ended tasks. Return how many tasks were renamed."""
    renamed = 0
    for row in OrmQ.objects.all():
        # A task signed with another DJANGO_SECRET_KEY has no function here, and workers cannot read it either.
        if new := MOVED_TASKS.get(row.task.get("func")):
            payload = SignedPackage.dumps(row.task | {"func": new})
            renamed += OrmQ.objects.filter(pk=row.pk).update(payload=payload)
    # A failed task can be started again from its page in the admin.
    for old, new in MOVED_TASKS.items():
        renamed += Task.objects.filter(func=old).update(func=new)
    return renamed
