"""The nodes on the pool's page."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from django.urls import reverse
from django.utils import timezone

from audit.models import Act
from executions.models import Execution, Status
from runtimes.models import Runtime
from sandbox_platform.kit import liveness
from sandbox_platform.kit.notify import Listener
from sandboxes.models import Node, Sandbox, SandboxState
from tests.conftest import Visitor
from tests.pages import words

POOL = reverse("admin:pool")
MakeExecution = Callable[..., Execution]


@pytest.fixture
def session(transactional_db: None) -> Iterator[Listener]:
    with closing(Listener()) as it:
        yield it


@pytest.fixture
def node(transactional_db: None) -> Node:
    return Node.objects.create(
        name="n1", seen_at=timezone.now(), version="0.1.0", engine="direct", gvisor_version="release-1", workers=4
    )


def board(visitor: Visitor, role: str = "administrator") -> str:
    return words(visitor(role).get(POOL).content.decode())


def test_board_shows_each_node_with_what_it_has(
    visitor: Visitor, node: Node, session: Listener, python_runtime: Runtime, make_execution: MakeExecution
) -> None:
    liveness.hold_keeper(session.connection, "n1")
    make_execution(status=Status.RUNNING, node="n1", finished_at=None, outcome="")
    Sandbox.objects.create(runtime=python_runtime, runtime_revision=1, node="n1", state=SandboxState.READY)
    assert "n1 up 0 ms ago 1 of 4 1 ready direct release-1 0.1.0 Drain …" in board(visitor)


def test_board_says_that_a_node_is_gone(visitor: Visitor, node: Node) -> None:
    assert "n1 gone" in board(visitor)


def test_administrator_drains_after_a_question_and_takes_back(
    visitor: Visitor, node: Node, session: Listener
) -> None:
    liveness.hold_keeper(session.connection, "n1")
    administrator = visitor("administrator")
    asked = words(administrator.post(POOL, {"action": "drain_node", "node": "n1"}).content.decode())
    assert "Drain the node n1?" in asked and "No other node runs programs" in asked
    node.refresh_from_db()
    assert not node.draining
    administrator.post(POOL, {"action": "drain_node", "node": "n1", "confirmed": "yes"})
    assert "n1 drained" in words(administrator.get(POOL).content.decode())
    administrator.post(POOL, {"action": "return_node", "node": "n1"})
    node.refresh_from_db()
    assert not node.draining
    assert list(Act.objects.order_by("pk").values_list("kind", flat=True)) == ["drained", "taken back"]


def test_a_node_that_is_alive_cannot_be_removed(visitor: Visitor, node: Node, session: Listener) -> None:
    liveness.hold_keeper(session.connection, "n1")
    answer = visitor("administrator").post(
        POOL, {"action": "remove_node", "node": "n1", "confirmed": "yes"}, follow=True
    )
    assert "Node n1 is alive" in words(answer.content.decode())
    assert Node.objects.exists()


@pytest.mark.parametrize("role", ["operator", "auditor"])
def test_only_administrators_drain_nodes(visitor: Visitor, node: Node, role: str) -> None:
    browser = visitor(role)
    assert "Drain … n1" not in browser.get(POOL).content.decode()
    assert browser.post(POOL, {"action": "drain_node", "node": "n1", "confirmed": "yes"}).status_code == 403
    node.refresh_from_db()
    assert not node.draining


def test_an_unknown_node_is_an_error_in_words(visitor: Visitor) -> None:
    answer = visitor("administrator").post(POOL, {"action": "drain_node", "node": "x"}, follow=True)
    assert "There is no node x" in words(answer.content.decode())
