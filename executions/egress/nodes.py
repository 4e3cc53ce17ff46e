"""The gateway's side of links: the doors of other machines' sandboxes.

A node that is taken over can claim no more than the doors of its own sandboxes: the database says which node a sandbox
is on.
"""

import asyncio
import logging
import socket
from typing import Any

from django.conf import settings

from executions.egress import links
from executions.egress.carrying import hang_up
from executions.egress.gateway import Gateway
from executions.egress.links import CLOSING_S, INTRODUCTION_S, Link
from sandbox_platform.kit.failures import without_text

logger = logging.getLogger(__name__)

# Connections that have not said yet who they are. Whoever reaches the port may open one.
MAX_STRANGERS = 256
# Questions about the proxy at the same time.
MAX_TRIES = 4
AGAIN_S = 0.1
NOBODYS = 0


class Nodes:
    def __init__(self, gateway: Gateway) -> None:
        """Raises ValueError for settings that are missing or unusable."""
        self._gateway = gateway
        self._secret = settings.SANDBOX_EGRESS_NODES_SECRET
        self._context = links.gateway_context(self._secret)
        try:
            links.address_of(settings.SANDBOX_EGRESS_NODES_LISTEN)
        except ValueError as e:
            raise ValueError("SANDBOX_EGRESS_NODES_LISTEN: write host:port, or :port for all addresses") from e
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._strangers = 0
        self._unknown = 0  # connections without a node's key since the last sweep
        self._tries = 0

    async def start(self) -> None:
        """Listen for nodes. Raises OSError."""
        self._listener = links.listen(settings.SANDBOX_EGRESS_NODES_LISTEN)
        self._start(self._accept(self._listener))
        logger.info("egress: listening for nodes on %s", settings.SANDBOX_EGRESS_NODES_LISTEN)

    async def sweep(self) -> None:
        if self._unknown:
            logger.warning("egress: refused %d connections without a node's key", self._unknown)
            self._unknown = 0

    def close(self) -> None:
        """Listen no more, and end the links."""
        for task in self._tasks:
            task.cancel()
        if self._listener is not None:
            self._listener.close()

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(listener)
            except OSError as e:  # no file descriptor is left, or who connected is gone already
                logger.warning("egress: accepting a node's connection failed: %s", e.strerror)
                await asyncio.sleep(AGAIN_S)
                continue
            if self._strangers >= MAX_STRANGERS:
                self._unknown += 1
                sock.close()
            else:
                # Counted here: the task begins later.
                self._strangers += 1
                self._start(self._serve(sock))

    async def _serve(self, sock: socket.socket) -> None:
        """Serve one link."""
        link = None
        try:
            try:
                link = await links.accept(sock, self._context)
                async with asyncio.timeout(INTRODUCTION_S):
                    said = await link.line()
            except (OSError, ValueError) as e:  # also a TimeoutError
                # Whoever only looks whether the port is open, as probes do, says nothing.
                self._unknown += not isinstance(e, ConnectionResetError)
                return
            finally:
                self._strangers -= 1
            await self._answer(said, link)
        except Exception as e:
            # The link's outermost frame: an error ends only this link.
            logger.warning("egress: a node's connection: %s", without_text(e))
        finally:
            if link is not None:
                link.close()

    async def _answer(self, said: dict[str, Any], link: Link) -> None:
        node, key = said.get("node"), said.get("key")
        if not isinstance(node, str) or not isinstance(key, str) or not links.is_node(self._secret, node, key):
            self._unknown += 1
            link.say({"error": "it does not take this node's key: was it made for its name (SANDBOX_NODE)?"})
        elif said.get("try"):
            link.say(await self._tried())
        else:
            await self._carry(node, said, link)

    async def _tried(self) -> dict[str, Any]:
        if self._tries >= MAX_TRIES:
            return {"error": "too many doctors are asking it"}
        self._tries += 1
        try:
            return await self._gateway.tried()
        finally:
            self._tries -= 1

    async def _carry(self, node: str, said: dict[str, Any], link: Link) -> None:
        door = said.get("door")
        if type(door) is not int or not 0 < door < 2**63:
            door = NOBODYS
        async with self._gateway.admitted(node, door) as execution_id:
            link.say({"accepted": execution_id is not None})
            if execution_id is not None:
                await self._gateway.serve(execution_id, link.incoming, link.outgoing)
                # A reset could overtake the last frame, and the node would take what was cut for what was lost.
                await hang_up(link.incoming, link.outgoing, CLOSING_S)
