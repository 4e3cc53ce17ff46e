"""The queue as tests read it."""

from django_q.models import OrmQ

from sandbox_platform.kit.tasks import Argument, Task, read


def queued() -> list[tuple[Task, tuple[Argument, ...]]]:
    """The tasks that wait, oldest first."""
    calls = [read(row.payload) for row in OrmQ.objects.order_by("id")]
    return [(call.task, call.arguments) for call in calls]
