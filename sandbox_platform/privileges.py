"""What each service may do in the database: the role of a service has what stands here, and nothing else.

No service may change the schema, so none can switch a trigger off. Tables that only grow (seals, leaves, changes,
purge records) get INSERT at most. What their guards read, they read as the owner (audit/migrations/0005_definers.py).
Events of watched tables may be inserted by whoever may write the watched table: a trigger does it, and refuses
everybody else.
"""

from collections.abc import Iterator

import pghistory.models
from django.apps import apps
from django.db.models import Model

from sandbox_platform.kit.services import Service

Grants = dict[str, str]

# Rows of people and their sessions, which only the web needs.
PEOPLE = (
    "account.EmailAddress",
    "account.EmailConfirmation",
    "admin.LogEntry",
    "auth.Group",
    "auth.User",
    "axes.AccessAttempt",
    "axes.AccessAttemptExpiration",
    "axes.AccessFailureLog",
    "axes.AccessLog",
    "executions.SavedSearch",
    "mfa.Authenticator",
    "people.Identity",
    "people.LoginMethod",
    "people.RecoveryLink",
    "sessions.Session",
    "usersessions.UserSession",
)
# The address of a channel is as good as a token: see COLUMNS for the rest of it.
SECRETS = ("alerts.Channel", "clients.Token")
# Salted hashes of the node's secrets, the owner's password included: only the owner compares them, at a start.
OWNERS = ("audit.Setting",)

# "select" is implied for tables named here. UPDATE is also what locking a row (FOR UPDATE, FOR SHARE) needs.
PRIVILEGES: dict[Service, Grants] = {
    Service.WEB: {
        "admin.LogEntry": "insert",
        "alerts.Channel": "insert update delete",
        "alerts.Notification": "insert update",
        "alerts.Rule": "insert update delete",
        "alerts.RuleState": "delete",  # with their rule
        "alerts.Silence": "insert update delete",
        "audit.Act": "insert",
        "audit.RetentionPolicy": "insert update delete",
        "audit.ShownSecret": "insert",
        "audit.Verification": "insert update",
        "auth.Group": "insert update delete",
        "auth.User": "insert update delete",
        "axes.AccessAttempt": "insert update delete",
        "axes.AccessAttemptExpiration": "insert update delete",
        "axes.AccessFailureLog": "insert delete",
        "axes.AccessLog": "insert update delete",
        "builds.RuntimeBuild": "insert update delete",
        "callbacks.Delivery": "insert update",
        "clients.Client": "insert update delete",
        "clients.ClientStorage": "delete",  # with their client
        "clients.ClientUsage": "insert update delete",
        "clients.Token": "insert update delete",
        "console.DoctorReport": "insert update",
        "console.FirstStep": "insert delete",
        "django_q.OrmQ": "insert",
        "django_q.Task": "delete",
        "egress.EgressRule": "insert update delete",
        "executions.Execution": "insert update",
        "executions.InputFile": "insert",
        "executions.SavedSearch": "insert update delete",
        "inspections.Inspection": "insert update delete",
        "metrics.Event": "insert",  # of its own answers; triggers insert the others
        "mfa.Authenticator": "insert update delete",
        "people.Identity": "insert",
        "people.LoginMethod": "insert",
        "people.RecoveryLink": "insert update",
        "redaction.RedactionPattern": "insert update delete",
        "runtimes.Runtime": "insert update delete",
        "sandboxes.Node": "update(draining,stopping) delete",
        # Worker and keeper end the container that a row names: the web may not name another one.
        "sandboxes.Sandbox": "update(state)",
        "seccomp_profiles.SeccompActivation": "insert",
        "seccomp_profiles.SeccompProfile": "insert update delete",
        "seccomp_profiles.SeccompRevision": "insert",
        "sessions.Session": "insert update delete",
        "usage.Price": "insert update delete",
        "usage.Refusal": "insert update",
        "usersessions.UserSession": "insert update delete",
    },
    Service.WORKER: {
        "audit.Act": "insert",  # of `manage.py doctor`
        "audit.Verification": "update",
        "builds.RuntimeBuild": "update",
        "callbacks.Delivery": "insert",
        "console.DoctorReport": "insert update",
        "django_q.OrmQ": "insert update(lock) delete",
        "django_q.Task": "insert",
        "executions.Artifact": "insert",
        "executions.Execution": "update",
        "executions.InputFile": "update(path)",
        "executions.OutputChunk": "insert delete",
        "inspections.Inspection": "insert update delete",
        "runtimes.Runtime": "insert update",
        "sandboxes.Sandbox": "insert update delete",
        "sandboxes.Turn": "insert update",
        "sandboxes.Wait": "insert update delete",
        "seccomp_profiles.SeccompActivation": "insert",
        "seccomp_profiles.SeccompProfile": "insert update",
        "seccomp_profiles.SeccompRevision": "insert",
    },
    Service.KEEPER: {
        "alerts.Alert": "insert update delete",
        "alerts.Attempt": "delete",
        "alerts.Notification": "insert update delete",
        "alerts.RuleState": "insert update",
        "alerts.Silence": "delete",
        "audit.Act": "insert",  # of `manage.py node`
        "audit.HeadDestination": "insert update",
        "audit.Leaf": "insert",
        "audit.Pending": "delete",
        "audit.PurgeRecord": "insert",
        "audit.Seal": "insert",
        "audit.SealKey": "insert",
        "audit.SealingFailure": "insert update delete",
        "builds.RuntimeBuild": "update",
        "callbacks.Delivery": "insert update delete",
        "callbacks.DeliveryAttempt": "delete",
        "clients.ClientStorage": "insert update",
        "clients.StorageChange": "delete",
        "console.JobRun": "insert update",
        "django_q.OrmQ": "insert",
        "egress.EgressRequest": "delete",
        "executions.Artifact": "delete",
        "executions.DailyCount": "insert",
        "executions.DailyTime": "insert",
        "executions.Execution": "insert update delete",  # inserts the self-test's
        "executions.HourlyCount": "insert update delete",
        "executions.HourlyTime": "insert update delete",
        "executions.InputFile": "delete",
        "executions.OutputChunk": "delete",
        "executions.Rollup": "insert update",
        "failures.FailureGroup": "insert update delete",
        "failures.FailureHour": "insert update delete",
        "failures.FailurePending": "delete",  # a trigger inserts
        "failures.FailureRun": "insert delete",
        "inspections.Inspection": "insert update delete",
        "metrics.Event": "delete",
        "metrics.Tally": "insert update delete",
        "sandboxes.Node": "insert update delete",
        "sandboxes.Sandbox": "insert update delete",
        "sandboxes.Turn": "insert update",
        "sandboxes.Wait": "insert update delete",
        "usage.Counted": "insert update",
        "usage.DailyUsage": "insert",
        "usage.HourlyUsage": "insert update",
        "usage.StoredSample": "insert",
    },
    Service.CALLBACKS: {
        "alerts.Alert": "insert update delete",
        "alerts.Attempt": "insert",
        "alerts.Channel": "",
        "alerts.Notification": "insert update",
        "alerts.Rule": "",
        "alerts.RuleState": "insert update",
        "alerts.Silence": "",
        "audit.HeadDestination": "insert update",
        "audit.Seal": "",
        "audit.ShownSecret": "insert",
        "callbacks.Delivery": "update",
        "callbacks.DeliveryAttempt": "insert",
        "clients.Client": "",
        "console.JobRun": "insert update",
        "django_q.OrmQ": "insert update(lock) delete",
        "django_q.Task": "insert",
        "executions.Execution": "",
        "runtimes.Runtime": "",
        "sandboxes.Node": "",
    },
    Service.EGRESS: {
        "egress.EgressRequest": "insert update",
        "egress.EgressRule": "",
        "sandboxes.Sandbox": "",
    },
    # Not which runtime gets which image: a worker decides that, after its probes.
    Service.BUILDER: {
        "builds.RuntimeBuild": "update(state,base_image_id,image_id,digest,node,progress,log,error,"
        "worker_backend,started_at,finished_at)",
        "django_q.OrmQ": "insert update(lock) delete",
        "django_q.Task": "insert",
    },
}
# Functions that do as the owner what their caller may not. Each of them checks itself whether it is due.
FUNCTIONS: dict[Service, tuple[str, ...]] = {
    Service.KEEPER: (
        "history_ahead()",
        "history_analyze()",
        "history_drop(text)",
    ),  # audit/migrations/partitions.sql
}
# Of these tables a service sees some columns only.
COLUMNS: dict[Service, dict[str, tuple[str, ...]]] = {
    Service.WORKER: {"alerts.Channel": ("id", "kind", "enabled")},  # for the doctor
    Service.KEEPER: {
        "alerts.Channel": ("id", "name", "kind", "enabled", "lowest_severity", "host"),
        # For the alert about wrong passwords. Not what was typed.
        "axes.AccessAttempt": ("id", "username", "ip_address", "attempt_time", "failures_since_start"),
    },
    Service.EGRESS: {
        "clients.Client": ("id", "network"),
        "executions.Execution": ("id", "status", "network", "runtime_id", "client_id", "traceparent"),
        # Not its environment, which may hold credentials.
        "runtimes.Runtime": ("id", "network"),
    },
    Service.BUILDER: {
        # What the queue counts to find whose turn it is.
        "executions.Execution": ("client_id", "status"),
        "runtimes.Runtime": ("id", "slug"),
        "sandboxes.Node": ("name", "draining"),
    },
}
# Services that may read every table, but these.
READS_ALL_BUT: dict[Service, tuple[str, ...]] = {
    Service.WEB: OWNERS,
    Service.WORKER: PEOPLE + SECRETS + OWNERS,
    Service.KEEPER: PEOPLE + SECRETS + OWNERS,
}
# A table without a model. Doctor reads it, and every service that waits for the migrations before its start.
MIGRATIONS = "django_migrations"


def grants(service: Service) -> Iterator[tuple[str, str]]:
    """Yield (table, privileges as GRANT takes them) of the service."""
    yield MIGRATIONS, "select"
    named = PRIVILEGES[service]
    for label, privileges in named.items():
        listed = ", ".join(["select", *privileges.split()])
        for table in _tables(apps.get_model(label)):
            yield table, listed
    for label, columns in COLUMNS.get(service, {}).items():
        yield apps.get_model(label)._meta.db_table, f"select ({', '.join(columns)})"
    written = {
        table for label, privileges in named.items() if privileges for table in _tables(apps.get_model(label))
    }
    for events, watched in _events():
        # By table: people are watched through models of the audit.
        if watched._meta.db_table in written:
            yield events._meta.db_table, "insert"
    if service in READS_ALL_BUT:
        hidden = {table for label in READS_ALL_BUT[service] for table in _tables(apps.get_model(label))}
        models = apps.get_models(include_auto_created=True)
        every = {model._meta.db_table for model in models if model._meta.managed and not model._meta.proxy}
        for table in sorted(every - hidden):
            yield table, "select"


def _tables(model: type[Model]) -> list[str]:
    """Return the model's table, and those of its many-to-many relations."""
    through = [field.remote_field.through for field in model._meta.local_many_to_many]
    return [model._meta.db_table, *(each._meta.db_table for each in through if each)]


def _events() -> Iterator[tuple[type[Model], type[Model]]]:
    for model in apps.get_models():
        if issubclass(model, pghistory.models.Event) and not model._meta.proxy:
            watched: type[Model] | None = model.pgh_tracked_model
            if watched:
                yield model, watched
