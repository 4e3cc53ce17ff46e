"""Nodes are drained, taken back and removed by people, and found dead by the others."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from io import StringIO

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from audit.models import Act
from runtimes.models import Runtime
from sandbox_platform.kit import liveness
from sandbox_platform.kit.broker import NotifyBroker
from sandbox_platform.kit.notify import Listener
from sandboxes import nodes
from sandboxes.engine import ImageMissing
from sandboxes.keeper import kinds
from sandboxes.management.commands import node as command
from sandboxes.models import Node, Sandbox, SandboxState
from tests.sandboxes.stub_engine import StubEngine


@pytest.fixture
def session(transactional_db: None) -> Iterator[Listener]:
    with closing(Listener()) as it:
        yield it


@pytest.fixture
def make_node(transactional_db: None) -> Callable[..., Node]:
    def make(name: str, **fields: object) -> Node:
        return Node.objects.create(name=name, **{"seen_at": timezone.now(), **fields})

    return make


MakeNode = Callable[..., Node]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's Postgres has not been up for three minutes."""
    monkeypatch.setattr(nodes, "DEAD_AFTER", timedelta(0))


def node(*words: str) -> str:
    out = StringIO()
    call_command("node", *words, stdout=out)
    return out.getvalue()


def test_a_drained_node_takes_no_task_and_one_that_is_taken_back_does(
    make_node: MakeNode, settings: Settings
) -> None:
    make_node("n1")
    NotifyBroker().enqueue("task")
    nodes.drain("n1")
    settings.SANDBOX_NODE = "n1"
    assert NotifyBroker()._take() == []
    nodes.take_back("n1")
    assert len(NotifyBroker()._take()) == 1


@pytest.mark.parametrize("queue", [settings.CALLBACK_CLUSTER, settings.BUILD_CLUSTER])
def test_callbacks_and_builds_go_on_on_a_drained_node(make_node: MakeNode, queue: str) -> None:
    make_node(settings.SANDBOX_NODE, draining=True)
    broker = NotifyBroker(queue)
    broker.enqueue("task")
    assert len(broker._take()) == 1


def test_a_drained_node_keeps_nothing_warm(make_node: MakeNode, python_runtime: Runtime) -> None:
    assert [kind.pool_max for kind, _ in kinds()] == [python_runtime.pool_max]
    make_node(settings.SANDBOX_NODE, draining=True)
    assert [(kind.pool_min, kind.pool_max) for kind, _ in kinds()] == [(0, 0)]


def test_what_people_do_with_nodes_is_in_the_trail(make_node: MakeNode) -> None:
    make_node("n1")
    node("drain", "n1")
    node("drain", "n1")  # changes nothing
    node("return", "n1")
    node("remove", "n1")
    assert list(Act.objects.order_by("pk").values_list("kind", "name")) == [
        ("drained", "node n1"),
        ("taken back", "node n1"),
        ("removed", "node n1"),
    ]


def test_an_unknown_node_is_named_with_those_that_there_are(make_node: MakeNode) -> None:
    make_node("n1")
    with pytest.raises(CommandError, match=r"There is no node n2\. Nodes: n1\."):
        node("drain", "n2")


def test_a_node_that_is_alive_is_not_removed(make_node: MakeNode, session: Listener) -> None:
    make_node("n1")
    liveness.hold_worker(session.connection, "n1")
    with pytest.raises(nodes.StillAlive):
        nodes.remove("n1")
    assert Node.objects.exists()


def test_list_says_which_are_gone_or_draining(make_node: MakeNode, session: Listener) -> None:
    make_node("n1", engine="direct")
    make_node("n2", draining=True)
    liveness.hold_keeper(session.connection, "n1")
    first, second = node("list").splitlines()
    assert first.startswith("n1  alive, seen") and first.endswith("direct")
    assert second.startswith("n2  gone, draining")


def test_serving_are_those_with_both_processes_that_are_not_drained(
    make_node: MakeNode, session: Listener
) -> None:
    for name, draining in (("n1", False), ("n2", True), ("n3", False)):
        make_node(name, draining=draining)
        liveness.hold_worker(session.connection, name)
    for name in ("n1", "n2"):
        liveness.hold_keeper(session.connection, name)
    assert nodes.serving() == ["n1"]


@pytest.mark.usefixtures("at_once")
def test_dead_are_those_without_any_process(
    make_node: MakeNode, session: Listener, python_runtime: Runtime
) -> None:
    for name in ("n1", "n2", settings.SANDBOX_NODE):
        make_node(name)
    Sandbox.objects.create(runtime=python_runtime, runtime_revision=1, node="n3", state=SandboxState.READY)
    liveness.hold_keeper(session.connection, "n1")
    assert nodes.dead() == ["n2", "n3"]


@pytest.mark.usefixtures("at_once")
def test_a_node_whose_clock_was_ahead_is_as_dead_as_others(
    settings: Settings, python_runtime: Runtime, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = timezone.now
    with monkeypatch.context() as ahead:
        ahead.setattr(timezone, "now", lambda: real() + timedelta(hours=1))
        settings.SANDBOX_NODE = "n1"
        nodes.record(StubEngine())
        Sandbox.objects.create(runtime=python_runtime, runtime_revision=1, node="n1", state=SandboxState.READY)
    settings.SANDBOX_NODE = "n2"
    assert nodes.dead() == ["n1"]


def test_nobody_is_dead_right_after_a_restart_of_postgres(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_node("n1", seen_at=timezone.now() - timedelta(days=2))
    monkeypatch.setattr(nodes, "DEAD_AFTER", timedelta(days=1))
    assert nodes.dead() == []


@pytest.mark.parametrize("hold", [liveness.hold_keeper, liveness.hold_worker])
def test_a_host_does_not_take_the_name_of_one_that_is_alive(
    session: Listener, settings: Settings, hold: Callable[[psycopg.Connection, str], None]
) -> None:
    settings.SANDBOX_NODE = "n1"
    assert "are here" in node("check")
    hold(session.connection, "n1")
    with pytest.raises(CommandError, match="node n1 is alive, and not on this host") as refused:
        node("check")
    assert refused.value.returncode == 4
    assert "are here" in node("check", "--running")


def test_missing_images_have_a_status_of_their_own(
    python_runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Engine:
        def image_id(self, reference: str) -> str:
            raise ImageMissing(reference)

    monkeypatch.setattr(command, "get_engine", Engine)
    with pytest.raises(SystemExit) as ended:
        node("check")
    assert ended.value.code == 3


# -- A node that stops by itself, as a pod does ---------------------------------------------------------------


@pytest.fixture
def this_node(make_node: MakeNode, settings: Settings) -> Callable[..., Node]:
    return lambda **fields: make_node(settings.SANDBOX_NODE, **fields)


def flags() -> tuple[bool, bool]:
    """Whether the node is drained, and whether its own stop is the reason."""
    return Node.objects.values_list("draining", "stopping").get()


def test_node_that_stopped_works_again_when_it_is_back(this_node: Callable[..., Node]) -> None:
    this_node()
    assert nodes.stop()
    assert flags() == (True, True)
    assert nodes.started()
    assert flags() == (False, False)


def test_node_that_a_person_drains_stays_drained_when_it_is_back(this_node: Callable[..., Node]) -> None:
    this_node()
    nodes.drain(settings.SANDBOX_NODE)
    assert not nodes.stop()
    assert not nodes.started()
    assert flags() == (True, False)


def test_node_that_a_person_drains_while_it_stops_stays_drained(this_node: Callable[..., Node]) -> None:
    this_node()
    nodes.stop()
    assert nodes.drain(settings.SANDBOX_NODE)
    assert not nodes.started()
    assert flags() == (True, False)


def test_node_that_is_not_yet_known_has_not_stopped(transactional_db: None) -> None:
    assert not nodes.started()


def test_person_takes_a_node_back_that_stopped(this_node: Callable[..., Node]) -> None:
    this_node(draining=True, stopping=True)
    assert nodes.take_back(settings.SANDBOX_NODE)
    assert flags() == (False, False)


@pytest.mark.parametrize(("fields", "stays"), [({"stopping": True}, False), ({}, True)])
def test_node_that_stopped_is_forgotten_soon(make_node: MakeNode, fields: dict[str, bool], stays: bool) -> None:
    make_node("n1", seen_at=timezone.now() - nodes.STOPPED_FORGOTTEN, draining=True, **fields)
    nodes.record(StubEngine())
    assert Node.objects.filter(name="n1").exists() == stays
