"""Warm sandboxes with a door are kept beside those without, where somebody may call out."""

from collections import Counter
from collections.abc import Callable

import pytest

from executions.models import Client, Sandbox
from executions.notify import POOL, notify
from runtimes.models import Runtime
from tests.executions.sandbox.stub_engine import StubEngine
from tests.executions.sandbox.test_keeper import engine, keeping, node, runtime
from tests.live import eventually

__all__ = ["engine", "node", "runtime"]


@pytest.fixture
def with_egress(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    monkeypatch.setattr("executions.egress.doors.make", lambda sandbox: f"/doors/{sandbox}")
    Client.objects.create(name="agent", network="egress")
    Runtime.objects.update(network="egress")
    runtime.refresh_from_db()
    return runtime


def by_network() -> Counter[str]:
    return Counter(Sandbox.objects.filter(state="ready").values_list("network", flat=True))


def test_keeper_keeps_both_kinds_where_somebody_may_call_out(engine: StubEngine, with_egress: Runtime) -> None:
    with keeping(engine):
        eventually(lambda: by_network() == {"none": 2, "egress": 2}, "two of each")


@pytest.mark.parametrize("change", [
    lambda: Client.objects.update(network="none"), lambda: Client.objects.update(enabled=False),
    lambda: Runtime.objects.update(network="none"),
])  # fmt: skip
def test_keeper_retires_doors_that_nobody_needs(
    engine: StubEngine, with_egress: Runtime, change: Callable[[], object]
) -> None:
    with keeping(engine):
        eventually(lambda: by_network() == {"none": 2, "egress": 2}, "two of each")
        change()
        notify(POOL)
        eventually(lambda: by_network() == {"none": 2}, "the doors are gone")
