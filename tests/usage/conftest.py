from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from clients.models import Client
from executions import figures as hourly
from executions.models import Execution
from usage import figures, refusals
from usage.figures import Row, Scope

Ran = Callable[..., Execution]
NOW = timezone.now()
LONG_AGO = hourly.floor_hour(NOW - timedelta(days=20))
GIB = 2**30


def scope(days: int = 30, **of: object) -> Scope:
    return Scope(*figures.hours_of(NOW - timedelta(days=days), NOW + timedelta(hours=1)), **of)


def total(**of: object) -> Row:
    return figures.total(scope(**of))


@pytest.fixture(autouse=True)
def nothing_refused() -> None:
    refusals._counts.clear()


@pytest.fixture
def alice(db: None) -> Client:
    return Client.objects.create(name="alice")


@pytest.fixture
def ran(make_execution: Callable[..., Execution], alice: Client) -> Ran:
    """A run of two seconds with half a second of CPU time and a GiB of memory."""

    def ran(at: datetime = NOW, **overrides: object) -> Execution:
        fields = {
            "client": alice,
            "queued_at": at,
            "started_at": at,
            "ended_at": at + timedelta(seconds=2),
            "finished_at": at + timedelta(seconds=2),
            "cpu_ms": 500,
            "peak_memory_bytes": GIB,
        }
        return make_execution(**fields | overrides)

    return ran
