"""Figures of the queue and of what runs."""

from collections.abc import Iterator

from django.conf import settings
from django.db.models import Count, Min
from django.utils import timezone
from django_q.models import OrmQ

from executions.models import Execution, Status
from sandbox_platform.kit.broker import RUNS
from sandbox_platform.kit.metrics import Figure, Reading, Value, declare
from sandboxes.models import Node

FIGURES = (
    Figure("queue_depth", "Executions that wait for a worker."),
    Figure("queue_oldest_age_seconds", "How long the execution that waits longest has waited; 0: none waits."),
    Figure("running", "Executions that a worker of the node has taken.", ("node",)),
    Figure("wanted_slots", "Worker slots in use if no execution waited: those that wait, and those that run."),
    Figure("tasks_queued", "Tasks in the queue of the workers and in that of the callbacks service.", ("queue",)),
)


def read() -> Iterator[Value]:
    queue = Execution.objects.filter(status=Status.QUEUED).aggregate(number=Count("pk"), oldest=Min("queued_at"))
    age = max((timezone.now() - queue["oldest"]).total_seconds(), 0) if queue["oldest"] else 0
    yield Value("queue_depth", queue["number"])
    yield Value("queue_oldest_age_seconds", age)
    rows = Execution.objects.filter(status=Status.RUNNING).order_by().values_list("node")
    running = dict(rows.annotate(number=Count("pk")))
    idle = dict.fromkeys(Node.objects.values_list("name", flat=True), 0)
    for node, number in (idle | running).items():
        yield Value("running", number, (node,))
    yield Value("wanted_slots", queue["number"] + sum(running.values()))
    tasks = OrmQ.objects.order_by().values_list("key").annotate(number=Count("pk"))
    for name, number in (dict.fromkeys((RUNS, settings.CALLBACK_CLUSTER), 0) | dict(tasks)).items():
        yield Value("tasks_queued", number, (name,))


declare(Reading(FIGURES, read))
