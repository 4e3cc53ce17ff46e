"""What a keeper does about the drain that its node's own stop began."""

from django.db import connection
from django.utils import timezone

from runtimes.models import Runtime
from sandbox_platform.kit import liveness
from sandbox_platform.kit.locks import Lock
from sandboxes import nodes
from sandboxes.models import Node, Sandbox
from tests.live import eventually
from tests.sandboxes.stub_engine import StubEngine
from tests.sandboxes.test_keeper import engine, keeping, node, ready, runtime

__all__ = ["engine", "node", "runtime"]


def test_keeper_ends_the_drain_that_its_nodes_own_stop_began(
    runtime: Runtime, engine: StubEngine, node: str
) -> None:
    Node.objects.create(name=node, seen_at=timezone.now(), draining=True, stopping=True)
    with keeping(engine):
        eventually(lambda: not Node.objects.get(name=node).draining, "it works again")


def test_lost_connection_does_not_end_the_drain_of_a_stop(runtime: Runtime, engine: StubEngine, node: str) -> None:
    Node.objects.create(name=node, seen_at=timezone.now())
    with keeping(engine):
        eventually(lambda: liveness.keeper_alive(node), "it is alive")
        eventually(ready(2), "two are ready")
        nodes.stop()
        end_sessions_of_keepers()
        eventually(lambda: liveness.keeper_alive(node), "it is back")
        eventually(lambda: not Sandbox.objects.exists(), "the pool is gone")
    assert Node.objects.get(name=node).stopping


def end_sessions_of_keepers() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s",
            [Lock.KEEPER],
        )
        assert cursor.fetchone()[0]
