from django.db import migrations

# Guards read leaves, purge records and executions, and queue rows for their seal. The service whose statement they
# guard need not be able to. Each fixes its search path (guards.sql). Not among them: audit_refuse_unrecorded and
# audit_stamp, which ask for the session's own path and role.
FUNCTIONS = (
    "audit_pend",
    "audit_pend_execution",
    "audit_guard_pending",
    "audit_guard_execution",
    "audit_guard_beside",
    "audit_guard_revision",
    "audit_remove_revisions",
    "audit_guard_request",
)


class Migration(migrations.Migration):

    dependencies = [
        ('audit', '0004_people'),
    ]

    operations = [
        migrations.RunSQL(
            "".join(f"ALTER FUNCTION {name}() SECURITY DEFINER;" for name in FUNCTIONS),
            "".join(f"ALTER FUNCTION {name}() SECURITY INVOKER;" for name in FUNCTIONS),
        ),
    ]
