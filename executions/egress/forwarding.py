"""A node's side of links: forwards the connections of its doors to a gateway elsewhere.

It has no role in Postgres and decides nothing: the gateway knows which execution a door's sandbox runs.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import math
import socket
import ssl
from typing import Any

from django.conf import settings

from executions.egress import links
from executions.egress.admission import Admission
from executions.egress.carrying import Reader, Unlimited, Writer, carry, hang_up
from executions.egress.gateway import SWEEP_S, UNAVAILABLE
from executions.egress.links import INTRODUCTION_S, Link, NodeKey
from executions.egress.listening import Doors

logger = logging.getLogger(__name__)

CONNECT_S = 5
# The gateway answers once it has asked Postgres, and the doctor's question once it has asked the proxy.
ANSWER_S = 30
# How long the addresses of the gateway's name are taken for current.
ADDRESSES_S = 5
AGAIN_S = 0.5
Address = tuple[str, int]


class GatewayAway(Exception):
    """No gateway answers, or none that this node's key is for. The message gives the reason."""


class Forwarder:
    def __init__(self) -> None:
        """Raises ValueError for settings that are missing or unusable."""
        try:
            key = NodeKey.parse(settings.SANDBOX_EGRESS_NODE_KEY)
            self._context = links.node_context(key)
        except ValueError as e:
            raise ValueError(f"SANDBOX_EGRESS_NODE_KEY: {e}") from e
        try:
            host, port = links.address_of(settings.SANDBOX_EGRESS_REMOTE)
        except ValueError:
            host, port = "", 0
        if not host:
            raise ValueError("SANDBOX_EGRESS_REMOTE: write host:port of the egress gateway")
        self._gateway = host, port
        self._who = {"node": settings.SANDBOX_NODE, "key": key.key}
        self._admission = Admission(links=True)
        self._doors = Doors(self)
        # A sandbox stays with the gateway that it began with: each counts what passes through it.
        self._chosen: dict[int, Address] = {}
        self._addresses: list[Address] = []
        self._current_until = -math.inf  # the addresses
        self._state = ""

    async def run(self) -> None:
        """Serve until cancelled."""
        logger.info("egress: doors lead to the gateway at %s", settings.SANDBOX_EGRESS_REMOTE)
        try:
            await self._doors.start()
            while True:
                await asyncio.sleep(SWEEP_S)
                await self._doors.sweep()
                for sandbox_id in self._chosen.keys() - self._doors.open:
                    del self._chosen[sandbox_id]
        finally:
            self._doors.close()

    async def come(self, sandbox_id: int, reader: Reader, writer: Writer) -> None:
        """Serve one connection of a guest: forward it, or tell the guest that the gateway is away."""
        with self._admission.place(settings.SANDBOX_NODE, sandbox_id) as has_place:
            if not has_place:
                return
            try:
                link, answer = await self._open({"door": sandbox_id}, sandbox_id)
            except GatewayAway as e:
                self._tell(str(e))
                writer.write(UNAVAILABLE)
                await hang_up(reader, writer)
                return
            try:
                self._tell("")
                if answer.get("accepted") is True:
                    await carry((reader, link.outgoing), (link.incoming, writer), Unlimited(0))
                    if link.incoming.is_lost and not link.incoming.number:
                        writer.write(UNAVAILABLE)
                    await hang_up(reader, writer)
            finally:
                link.close()

    async def tried(self) -> dict[str, Any]:
        """Return the gateway's answer to the doctor's question about the proxy."""
        try:
            link, answer = await self._open({"try": True})
        except GatewayAway as e:
            return {"error": str(e)}
        link.close()
        return answer

    async def _open(self, question: dict[str, Any], sandbox_id: int = 0) -> tuple[Link, dict[str, Any]]:
        """Open a link and return it with the gateway's answer. Raises GatewayAway."""
        fault = "its name has no address"
        for address in await self._in_order(sandbox_id):
            try:
                link, answer = await self._ask(address, question)
            except (OSError, ValueError) as e:  # also a TimeoutError
                fault = explained(e)
            else:
                if error := answer.get("error"):
                    link.close()
                    fault = str(error)
                    continue
                self._chosen[sandbox_id] = address
                return link, answer
        self._look_again()
        raise GatewayAway(f"the egress gateway at {settings.SANDBOX_EGRESS_REMOTE}: {fault}")

    async def _ask(self, address: Address, question: dict[str, Any]) -> tuple[Link, dict[str, Any]]:
        """Raises OSError and ValueError."""
        async with asyncio.timeout(CONNECT_S + INTRODUCTION_S):
            link = await links.connect(address, self._context)
        with contextlib.ExitStack() as unanswered:
            unanswered.callback(link.close)
            link.say(self._who | question)
            async with asyncio.timeout(ANSWER_S):
                answer = await link.line()
            unanswered.pop_all()
        return link, answer

    async def _in_order(self, sandbox_id: int) -> list[Address]:
        """Return the gateway's addresses. The order differs from sandbox to sandbox and stays the same for each."""
        loop = asyncio.get_running_loop()
        if loop.time() > self._current_until:
            host, port = self._gateway
            try:
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except OSError:
                # Those of before may still be right.
                self._current_until = loop.time() + AGAIN_S
            else:
                self._addresses = list({(str(entry[4][0]), port) for entry in found})
                self._current_until = loop.time() + ADDRESSES_S
        first = self._chosen.get(sandbox_id)
        return sorted(self._addresses, key=lambda address: (address != first, _weight(sandbox_id, address)))

    def _look_again(self) -> None:
        """Ask for the addresses soon: another gateway may have taken the place of one. Programs may ask in a loop."""
        self._current_until = min(self._current_until, asyncio.get_running_loop().time() + AGAIN_S)

    def _tell(self, state: str) -> None:
        """Log once that the gateway is away or back: every request of every program would be a line."""
        if state != self._state:
            self._state = state
            if state:
                logger.error("egress: requests are refused: %s", state)
            else:
                logger.info("egress: the gateway answers again")


def _weight(sandbox_id: int, address: Address) -> bytes:
    return hashlib.sha256(json.dumps([sandbox_id, *address]).encode()).digest()


def explained(e: OSError | ValueError) -> str:
    """Return the reason in words that name the remedy where there is one."""
    if isinstance(e, ssl.SSLCertVerificationError):
        return "it has another secret than the one that this node's key was made with (manage.py egress_node_key)"
    if isinstance(e, TimeoutError):
        return "no answer in time"
    if isinstance(e, (ValueError, ConnectionResetError)):
        return "it closed the connection"
    return e.strerror or type(e).__name__
