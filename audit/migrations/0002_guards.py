from django.db import migrations

from audit import guards

WATCHED = (
    ("runtimes_runtime", "audit_runtimeevent", ()),
    ("seccomp_profiles_seccompprofile", "audit_seccompprofileevent", ()),
    ("executions_client", "audit_clientevent", ()),
    ("executions_token", "audit_tokenevent", ("token_sha256",)),
    ("audit_retentionpolicy", "audit_retentionpolicyevent", ()),
    ("audit_redactionpattern", "audit_redactionpatternevent", ()),
)


class Migration(migrations.Migration):

    dependencies = [
        ("audit", "0001_initial"),
        ("executions", "0006_api"),
        ("runtimes", "0001_initial"),
        ("seccomp_profiles", "0001_initial"),
    ]

    operations = [
        migrations.RunSQL(guards.REFUSE + guards.SEALING + guards.STAMP + guards.DERIVED + guards.PURGE),
        migrations.RunSQL(guards.EXECUTIONS),
        *(
            migrations.RunSQL(guards.never_truncated(table))
            for table in ("executions_execution", "executions_artifact", "executions_inputfile", "audit_pending")
        ),
        *(migrations.RunSQL(guards.append_only(table)) for table in ("audit_seal", "audit_leaf")),
        migrations.RunSQL(guards.sealed("audit_purgerecord", "id")),
        *(guards.watch(table, events, fingerprint_only=secret) for table, events, secret in WATCHED),
    ]
