"""Warm sandboxes with a door are kept beside those without, where somebody may call out."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django import Settings

from clients.models import Client
from runtimes.models import Runtime
from sandbox_platform.kit.notify import POOL, notify
from sandboxes import doors
from sandboxes.models import Sandbox
from tests.live import eventually
from tests.sandboxes.stub_engine import StubEngine
from tests.sandboxes.test_keeper import engine, keeping, node, runtime

__all__ = ["engine", "node", "runtime"]


@pytest.fixture
def with_egress(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    monkeypatch.setattr("sandboxes.doors.make", lambda sandbox, **_: f"/doors/{sandbox}")
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


def test_keeper_removes_the_doors_of_sandboxes_that_are_gone(
    engine: StubEngine, runtime: Runtime, settings: Settings, tmp_path: Path
) -> None:
    settings.SANDBOX_EGRESS_DIR = tmp_path
    doors.provide()
    of_nobody = doors.root() / "999999999"
    of_nobody.mkdir()
    (of_nobody / doors.SOCKET).touch()
    with keeping(engine):
        eventually(lambda: by_network() == {"none": 2}, "the pool is there")
        (of_somebody := doors.root() / str(Sandbox.objects.latest("pk").pk)).mkdir()
        eventually(lambda: not of_nobody.exists(), "the door is gone")
        assert of_somebody.exists()
