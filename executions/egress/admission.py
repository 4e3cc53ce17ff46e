"""How many connections the doors may have: each sandbox, each node, and all of them."""

import asyncio
import contextlib
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.conf import settings

MAX_OPEN_PER_DOOR = 64
MAX_OPEN = 2000
# Those of links: one whose guest does not read takes up to 0.75 MiB here, most of it asyncio's buffers for TLS.
MAX_LINKS = 1000
# Connections over the life of a door: each costs a query.
MAX_ACCEPTED_PER_DOOR = 5 * settings.SANDBOX_EGRESS_REQUESTS
# Questions to Postgres of one node at the same time, which leaves threads for the others.
ASKING = 4
REMEMBERED = 10_000


@dataclass
class Peer:
    """A node, and the connections of its doors. A sandbox's id is what the node says it is."""

    open: Counter[int] = field(default_factory=Counter)
    accepted: OrderedDict[int, int] = field(default_factory=OrderedDict)
    asking: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ASKING))


class Admission:
    def __init__(self, *, links: bool = False, nodes: bool = False) -> None:
        """`links`: the connections are links. `nodes`: of several nodes, which share the places."""
        self._most = MAX_LINKS if links else MAX_OPEN
        self._nodes = nodes
        self._peers: OrderedDict[str, Peer] = OrderedDict()
        self._open = 0

    def peer(self, node: str) -> Peer:
        peer = self._peers.setdefault(node, Peer())
        self._peers.move_to_end(node)
        while len(self._peers) > REMEMBERED:
            self._peers.popitem(last=False)
        return peer

    @contextlib.contextmanager
    def place(self, node: str, sandbox_id: int) -> Iterator[bool]:
        """Hold a place for one connection of a door. Yields False if it gets none."""
        peer = self.peer(node)
        accepted = peer.accepted.pop(sandbox_id, 0) + 1
        peer.accepted[sandbox_id] = accepted
        while len(peer.accepted) > REMEMBERED:
            peer.accepted.popitem(last=False)
        if accepted > MAX_ACCEPTED_PER_DOOR or self._is_full(peer, sandbox_id):
            yield False
            return
        self._open += 1
        peer.open[sandbox_id] += 1
        try:
            yield True
        finally:
            self._open -= 1
            peer.open[sandbox_id] -= 1
            if not peer.open[sandbox_id]:
                del peer.open[sandbox_id]

    def _is_full(self, peer: Peer, sandbox_id: int) -> bool:
        free = self._most - self._open
        # A node may have as many places as it leaves free, so that some are left whatever other nodes do.
        taken = self._nodes and peer.open.total() >= free
        return free <= 0 or taken or peer.open[sandbox_id] >= MAX_OPEN_PER_DOOR
