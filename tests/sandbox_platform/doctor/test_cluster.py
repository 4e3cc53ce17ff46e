"""What the doctor says of the other nodes."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from sandbox_platform.doctor import Status, cluster
from sandbox_platform.kit import liveness
from sandbox_platform.kit.notify import Listener
from sandboxes.models import Node


@pytest.fixture
def alive(transactional_db: None) -> Iterator[None]:
    with closing(Listener()) as session:
        for name in ("n1", settings.SANDBOX_NODE):
            liveness.hold_worker(session.connection, name)
            liveness.hold_keeper(session.connection, name)
        yield


def node(name: str, **fields: Any) -> None:
    Node.objects.create(name=name, **{"seen_at": timezone.now(), "version": settings.VERSION, **fields})


@pytest.mark.usefixtures("alive")
def test_all_is_well_and_each_is_named() -> None:
    node("n1", engine="direct", gvisor_version="release-1")
    node("n2", draining=True)  # its processes may be stopped
    check = cluster.nodes("nodes")
    assert check.status is Status.OK
    assert f"n1 ({settings.VERSION}, direct, release-1, seen 0 s ago); n2" in check.detail


@pytest.mark.usefixtures("alive")
def test_all_problems_are_listed_with_the_command_for_a_node_that_is_gone() -> None:
    node("n1", version="0.0.1")
    node("n2")
    node("n3")
    check = cluster.nodes("nodes")
    assert (
        "n1: version 0.0.1" in check.detail and "n2: no keeper" in check.detail and "n3: no keeper" in check.detail
    )
    assert "node remove n2`" in check.fix and "node remove n3`" in check.fix and "node remove n1" not in check.fix


@pytest.mark.usefixtures("alive")
@pytest.mark.parametrize(
    ("name", "fields", "told"),
    [
        ("n2", {}, "n2: no keeper and no worker, last seen"),
        ("n1", {"version": "0.0.1"}, "n1: version 0.0.1, this node has"),
        (settings.SANDBOX_NODE, {"draining": True}, "it is being drained and takes no work"),
    ],
)
def test_what_is_wrong_with_one_is_said(name: str, fields: dict[str, Any], told: str) -> None:
    node(name, **fields)
    check = cluster.nodes("nodes")
    assert check.status is Status.WARNING
    assert told in check.detail
