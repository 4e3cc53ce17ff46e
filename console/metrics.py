"""Figures of the scheduled jobs."""

from collections.abc import Iterator

from console.models import JobRun
from sandbox_platform.kit.metrics import Figure, Reading, Value, declare

FIGURES = (
    Figure("job_failing", "Whether the last run of a scheduled job failed on the node.", ("node", "job")),
    Figure("job_started_timestamp_seconds", "When a scheduled job last started on the node.", ("node", "job")),
)


def read() -> Iterator[Value]:
    for node, job, started, error in JobRun.objects.values_list("node", "job", "started_at", "error"):
        yield Value("job_failing", float(bool(error)), (node, job))
        yield Value("job_started_timestamp_seconds", started.timestamp(), (node, job))


declare(Reading(FIGURES, read))
