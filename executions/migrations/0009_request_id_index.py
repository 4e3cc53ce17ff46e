from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    # Runs go on while the index is made.
    atomic = False

    dependencies = [
        ('executions', '0008_list_indexes'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='execution',
            index=models.Index(condition=models.Q(('request_id', ''), _negated=True), fields=['request_id'], name='execution_request_idx'),
        ),
    ]
