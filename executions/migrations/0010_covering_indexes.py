from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    # Runs go on while the indexes are made. The old ones go last, so that lists are never without.
    atomic = False

    dependencies = [
        ('clients', '0002_storage'),
        ('executions', '0009_request_id_index'),
        ('runtimes', '0001_initial'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='execution',
            index=models.Index(fields=['client', 'id'], include=('runtime', 'status'), name='execution_of_client_idx'),
        ),
        AddIndexConcurrently(
            model_name='execution',
            index=models.Index(fields=['runtime', 'id'], include=('client', 'status'), name='execution_of_runtime_idx'),
        ),
        AddIndexConcurrently(
            model_name='execution',
            index=models.Index(condition=models.Q(('status__in', ['queued', 'running', 'succeeded']), _negated=True), fields=['status', 'id'], include=('client', 'runtime'), name='execution_of_status_idx'),
        ),
        AddIndexConcurrently(
            model_name='execution',
            index=models.Index(condition=models.Q(('outcome__in', ['', 'completed']), _negated=True), fields=['outcome', 'id'], include=('client', 'runtime'), name='execution_of_outcome_idx'),
        ),
        *(
            RemoveIndexConcurrently(model_name='execution', name=f'execution_{name}_idx')
            for name in ('client', 'runtime', 'status', 'outcome')
        ),
    ]
