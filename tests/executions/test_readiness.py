"""What /readyz says. Who is alive holds a lock in Postgres: see sandbox_platform.kit.liveness."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from django.conf import settings
from django.test import Client as Http
from django.utils import timezone

from runtimes.models import Runtime
from sandbox_platform.kit import liveness
from sandbox_platform.kit.notify import Listener
from sandboxes.models import Node, Sandbox, SandboxState

WITHOUT_CALLBACKS = "No callbacks service is running: deliveries are pending."


@pytest.fixture
def session(transactional_db: None) -> Iterator[Listener]:
    with closing(Listener()) as it:
        yield it


@pytest.fixture
def running(session: Listener, python_runtime: Runtime) -> Listener:
    """A worker, a keeper and a runtime that keeps nothing warm."""
    liveness.hold_worker(session.connection, settings.SANDBOX_NODE)
    liveness.hold_keeper(session.connection, settings.SANDBOX_NODE)
    Runtime.objects.update(pool_min=0)
    return session


def readyz(client: Http) -> tuple[int, dict]:
    answer = client.get("/readyz")
    return answer.status_code, answer.json()


def test_ready_when_everybody_is_alive(client: Http, running: Listener) -> None:
    liveness.hold_callbacks(running.connection)
    assert readyz(client) == (200, {"status": "ready", "problems": []})


def test_degraded_when_nobody_delivers_callbacks(client: Http, running: Listener) -> None:
    # Programs run all the same, and RAGFlow's know no callbacks.
    assert readyz(client) == (200, {"status": "degraded", "problems": [WITHOUT_CALLBACKS]})


def test_not_ready_without_a_worker(client: Http, session: Listener) -> None:
    status, body = readyz(client)
    assert (status, body["status"]) == (503, "not ready")
    assert f"No worker is running on node {settings.SANDBOX_NODE}." in body["problems"]


def test_not_ready_without_a_warm_sandbox(client: Http, running: Listener) -> None:
    Runtime.objects.update(pool_min=1)
    assert readyz(client)[1]["problems"] == ["Runtime python has no warm sandbox."]


def test_ready_when_another_node_runs_programs(client: Http, session: Listener, python_runtime: Runtime) -> None:
    Node.objects.create(name="other", seen_at=timezone.now())
    Runtime.objects.update(pool_min=1)
    warm = {"runtime_revision": 1, "state": SandboxState.READY}
    Sandbox.objects.create(runtime=python_runtime, node="other", **warm)
    liveness.hold_worker(session.connection, "other")
    liveness.hold_keeper(session.connection, "other")
    liveness.hold_callbacks(session.connection)
    assert readyz(client)[0] == 200
    Node.objects.update(draining=True)
    assert readyz(client)[0] == 503


def test_not_ready_when_the_only_node_is_drained(client: Http, running: Listener) -> None:
    Node.objects.create(name=settings.SANDBOX_NODE, seen_at=timezone.now(), draining=True)
    told = f"Node {settings.SANDBOX_NODE} is being drained, and no other node runs programs."
    assert readyz(client)[1]["problems"] == [told]
