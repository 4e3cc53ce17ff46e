from django.db import migrations


class Migration(migrations.Migration):
    """The queue's table is django-q2's. It leaves a column it does not know alone, and a task with its client in
    the same row cannot come apart from it, as it could from a row in a table of ours."""

    dependencies = [
        ("executions", "0004_client_roles_and_limits"),
        ("django_q", "0019_alter_task_options_alter_ormq_key_alter_ormq_lock_and_more"),
    ]

    operations = [
        migrations.RunSQL(
            """
            ALTER TABLE django_q_ormq ADD COLUMN client_id bigint NOT NULL DEFAULT 0;
            CREATE INDEX django_q_ormq_turn_idx ON django_q_ormq (key, client_id, id);
            """,
            """
            DROP INDEX django_q_ormq_turn_idx;
            ALTER TABLE django_q_ormq DROP COLUMN client_id;
            """,
        ),
    ]
