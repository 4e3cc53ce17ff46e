"""Upgrade a database of version 0.1, which has 39 migrations, to one initial migration per app.

The tables keep their names and rows. The upgrade adds two columns and changes what Django and django-pgtrigger record:
the list of applied migrations, the apps that models belong to, and the names of triggers.
"""

import datetime
import io
import json
import pickle
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import signing
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader
from django_q.conf import Conf

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
# The functions that rows of the queue named at 0.1, and today's names of these tasks. They take the same arguments.
TASKS = {
    "executions.tasks.run_execution": "run",
    "executions.callbacks.tasks.deliver": "deliver callback",
    "executions.builds.tasks.run_build": "build",
    "executions.builds.tasks.activate_build": "activate build",
    "seccomp_profiles.tasks.inspect": "inspect",
    "console.doctor.examine": "doctor",
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
    """Name queued and failed tasks, and write as JSON what 0.1 pickled. Return how many tasks there were."""
    renamed = 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, payload FROM django_q_ormq")
        for pk, payload in cursor.fetchall():
            task = _signed(payload)
            # A task signed with another DJANGO_SECRET_KEY stays as it is: workers cannot read it either.
            if name := TASKS.get(task.get("func", "")):
                call = json.dumps({"task": name, "arguments": task["args"]})
                cursor.execute("UPDATE django_q_ormq SET payload = %s WHERE id = %s", [call, pk])
                renamed += 1
        # A failed task can be started again from its page in the admin.
        cursor.execute("SELECT id, func, args, result FROM django_q_task")
        for pk, function, arguments, result in cursor.fetchall():
            stored = [json.dumps(_unpickled(arguments) or []), str(_unpickled(result) or "")]
            changed = [TASKS.get(function, function), *stored, pk]
            cursor.execute("UPDATE django_q_task SET func = %s, args = %s, result = %s WHERE id = %s", changed)
            renamed += 1
    return renamed


class _Plain(pickle.Unpickler):
    """Loads numbers, texts, times and containers of them. Nothing else is looked up, so nothing is called."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "datetime" and name in ("datetime", "timezone", "timedelta"):
            return getattr(datetime, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not plain data")


class _PlainSerializer:
    def dumps(self, obj: Any) -> bytes:
        raise NotImplementedError("nothing is pickled any more")

    def loads(self, data: bytes) -> Any:
        return _Plain(io.BytesIO(data)).load()


def _signed(payload: str) -> dict[str, Any]:
    """Return the task that django-q2 signed, or {} if it is not one of this installation's.

    The key of 0.1 is the key of callbacks now (scripts/setup/envfile.py).
    """
    try:
        task = signing.loads(payload, key=settings.CALLBACK_KEY, salt=Conf.PREFIX, serializer=_PlainSerializer)
    except (signing.BadSignature, pickle.UnpicklingError):
        return {}
    return task if isinstance(task, dict) else {}


def _unpickled(stored: str | None) -> Any:
    """Return the value of a column in which django-q2 pickled it, or None if that is not plain data."""
    try:
        return _PlainSerializer().loads(b64decode(stored or ""))
    except (ValueError, EOFError, pickle.UnpicklingError):
        return None
