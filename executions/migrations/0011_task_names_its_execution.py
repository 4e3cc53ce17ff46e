from django.db import migrations


class Migration(migrations.Migration):
    """Like the client (see 0005): so that which executions have lost their task is a question for Postgres, not one
    that needs every task of the queue unpickled. Read by a scan: it is asked rarely, and an index would cost every
    run."""

    dependencies = [("executions", "0010_sliding_rate")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE django_q_ormq ADD COLUMN execution_id uuid",
            "ALTER TABLE django_q_ormq DROP COLUMN execution_id",
        ),
    ]
