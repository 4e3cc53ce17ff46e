"""Figures of nodes and of the pool."""

from collections.abc import Iterator
from itertools import product

from django.conf import settings
from django.db.models import Count, Sum

from runtimes.models import Runtime
from sandbox_platform.kit import liveness
from sandbox_platform.kit.metrics import Figure, Reading, Value, declare
from sandboxes.models import Node, Sandbox, SandboxState

STATES = tuple(SandboxState.values)
FIGURES = (
    Figure(
        "pool", "Sandboxes by runtime and state: starting, ready, claimed, used.", ("node", "runtime", "state")
    ),
    Figure("pool_memory_bytes", "Memory of sandboxes, measured every few seconds.", ("node", "runtime", "state")),
    Figure("pool_min", "Warm sandboxes that a runtime should have.", ("runtime",)),
    Figure("pool_max", "Warm sandboxes that a runtime may have.", ("runtime",)),
    Figure("worker_slots", "Executions that run at the same time on the node (SANDBOX_WORKERS).", ("node",)),
    Figure("node_draining", "Whether the node is being drained: it takes no work.", ("node",)),
    Figure("keeper_up", "Whether the node has a keeper.", ("node",)),
    Figure("worker_up", "Whether the node has a worker.", ("node",)),
    Figure("node_seen_timestamp_seconds", "When the keeper last told the state of its node.", ("node",)),
    Figure("node_disk_free_bytes", "Free space on the node's fullest disk.", ("node",)),
    Figure("node_disk_size_bytes", "Size of the node's fullest disk.", ("node",)),
    Figure("gvisor_info", "Version of gVisor on the node.", ("node", "version")),
)


def read() -> Iterator[Value]:
    yield from _pool()
    for runtime, least, most in Runtime.objects.enabled().order_by().values_list("slug", "pool_min", "pool_max"):
        yield Value("pool_min", least, (runtime,))
        yield Value("pool_max", most, (runtime,))
    found = list(Node.objects.all())
    slots = {row.name: row.workers for row in found if row.workers is not None}
    # Before a keeper's first record, the web knows only its own node. In Kubernetes it is on none.
    slots = slots or {settings.SANDBOX_NODE: settings.SANDBOX_WORKERS}
    for node, number in slots.items():
        yield Value("worker_slots", number, (node,))
    for node_row in found:
        name = (node_row.name,)
        yield Value("node_draining", float(node_row.draining), name)
        yield Value("keeper_up", float(liveness.keeper_alive(node_row.name)), name)
        yield Value("worker_up", float(liveness.workers_alive(node_row.name) > 0), name)
        yield Value("node_seen_timestamp_seconds", node_row.seen_at.timestamp(), name)
        if node_row.disk_free_bytes is not None:
            yield Value("node_disk_free_bytes", node_row.disk_free_bytes, name)
            yield Value("node_disk_size_bytes", node_row.disk_total_bytes or 0, name)
        if node_row.gvisor_version:
            yield Value("gvisor_info", 1, (node_row.name, node_row.gvisor_version))


def _pool() -> Iterator[Value]:
    """Yield a value for each state of an enabled runtime: a pool that is empty is 0, not missing."""
    nodes = list(Node.objects.values_list("name", flat=True))
    runtimes = Runtime.objects.enabled().values_list("slug", flat=True)
    found: dict[tuple[str, str, str], tuple[int, int]] = dict.fromkeys(product(nodes, runtimes, STATES), (0, 0))
    rows = Sandbox.objects.order_by().values_list("node", "runtime__slug", "state")
    for node, runtime, state, number, memory in rows.annotate(number=Count("pk"), memory=Sum("memory_bytes")):
        found[node, runtime, state] = number, memory or 0
    for labels, (number, memory) in found.items():
        yield Value("pool", number, labels)
        yield Value("pool_memory_bytes", memory, labels)


declare(Reading(FIGURES, read))
