"""Who may drain a node, with the roles of the services in Postgres."""

import pytest
from django.utils import timezone

from sandbox_platform.kit.services import Service
from sandboxes import nodes
from sandboxes.models import Node
from tests.sandbox_platform.acting import (  # noqa: F401 -- fixtures
    acting_as,
    attempt,
    made,
    there_are_roles,
)


@pytest.fixture(autouse=True)
def node(db: None) -> Node:
    return Node.objects.create(name="n1", seen_at=timezone.now())


@pytest.mark.parametrize("service", [Service.WEB, Service.KEEPER])
def test_web_and_keeper_drain_take_back_and_remove(service: Service) -> None:
    with acting_as(service):
        assert nodes.drain("n1")
        assert nodes.take_back("n1")
        nodes.remove("n1")
    assert not Node.objects.exists()


def test_the_web_does_not_speak_for_a_node() -> None:
    assert "permission denied" in attempt(Service.WEB, "UPDATE sandboxes_node SET version = 'x'")


def test_a_worker_reads_whether_it_is_drained_and_does_not_decide_it() -> None:
    with acting_as(Service.WORKER):
        assert not nodes.is_draining("n1")
    assert "permission denied" in attempt(Service.WORKER, "UPDATE sandboxes_node SET draining = true")
