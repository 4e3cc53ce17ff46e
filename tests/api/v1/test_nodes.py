"""GET /api/v1/nodes, for whoever sees everything."""

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from clients.models import Client, Role
from sandboxes.models import Node
from tests.api.conforming import ConformingClient
from tests.api.v1.conftest import API

NODES = f"{API}/nodes"


@pytest.fixture
def node(db: None) -> Node:
    return Node.objects.create(
        name="n1", seen_at=timezone.now(), engine="direct", version="0.1.0", draining=True, workers=4
    )


def test_what_a_node_tells(root: APIClient, node: Node) -> None:
    (row,) = root.get(NODES).json()["results"]
    assert row == {
        "name": "n1", "draining": True, "keeper": False, "worker": False, "workers": 4, "engine": "direct",
        "seen_at": node.seen_at.isoformat().replace("+00:00", "Z"), "version": "0.1.0", "gvisor_version": "",
        "disk_free_bytes": None, "disk_total_bytes": None,
    }  # fmt: skip


@pytest.mark.parametrize(("role", "status"), [(Role.CALLER, 403), (Role.AUDITOR, 200), (Role.ADMINISTRATOR, 200)])
def test_callers_do_not_see_the_hosts(db: None, role: Role, status: int) -> None:
    _, token = Client.objects.create_with_token("one", role=role)
    asker = ConformingClient(headers={"Authorization": f"Bearer {token}"})
    assert asker.get(NODES).status_code == status
