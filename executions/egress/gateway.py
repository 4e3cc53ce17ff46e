"""The egress gateway, the host's side of the doors.

It has one listener per sandbox, so that the host knows which sandbox sends a request and need not trust the guest.

The gateway does not parse the traffic. It opens each connection to the proxy with a PROXY header whose source address
is the execution's id: both have 128 bits. For each request the proxy asks the gateway for a decision, and afterwards
reports how the request ended.
"""

import asyncio
import hmac
import ipaddress
import json
import logging
import os
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from executions.egress import policy
from executions.egress.carrying import CHUNK, Spending, carry, hang_up
from executions.models import Execution, Status
from runtimes.models import Network
from sandbox_platform.kit import tracing
from sandbox_platform.kit.failures import without_text
from sandboxes import doors
from sandboxes.models import Sandbox, SandboxState

logger = logging.getLogger(__name__)

MAX_OPEN_PER_DOOR = 64
MAX_OPEN = 2000
# Connections over the life of a door: each costs a query.
MAX_ACCEPTED_PER_DOOR = 5 * settings.SANDBOX_EGRESS_REQUESTS
SWEEP_S = 10
KEEPER_S = 0.5
THREADS = 8
CONNECT_S = 10
INTRODUCTION_S = 10
REMEMBERED = 10_000
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
# Names in the proxy's hosts file (images/egress/entrypoint) with refused addresses, for the doctor's check of the
# proxy.
TRIALS = ("loopback.egress.invalid", "private.egress.invalid", "metadata.egress.invalid")
NONE = "-"


class Gateway:
    def __init__(self) -> None:
        self.root = doors.root()
        self._database = ThreadPoolExecutor(THREADS, "egress")
        self._doors: dict[int, asyncio.Server] = {}
        self._connections: Counter[int] = Counter()
        self._accepted: Counter[int] = Counter()
        self._seen: OrderedDict[UUID, int] = OrderedDict()
        self._spending: OrderedDict[UUID, Spending] = OrderedDict()
        # Stands for the execution in the doctor's requests. Random, so that no guest can use it.
        self._trial = UUID(bytes=secrets.token_bytes(16))

    async def run(self) -> None:
        """Serve until cancelled."""
        control = self.root / doors.CONTROL
        await self._folders(control.parent)
        for sandbox_id in doors.all_made():
            await self._open(sandbox_id)
        control.unlink(missing_ok=True)
        host, port = address_of(settings.SANDBOX_EGRESS_LISTEN)
        async with (
            await asyncio.start_server(self._proxy_asks, host, port),
            await asyncio.start_unix_server(self._control, control),
        ):
            # Keeper and workers are other users. Nobody else gets into the folder.
            control.chmod(0o666)
            logger.info("egress of node %s: doors in %s", settings.SANDBOX_NODE, self.root)
            while True:
                await asyncio.sleep(SWEEP_S)
                await self._sweep()

    # -- doors ----------------------------------------------------------------------------------------

    async def _folders(self, ours: Path) -> None:
        """Wait for the folders, which the keeper makes: this process may replace none of them."""
        told = False
        while not os.access(ours, os.W_OK):
            if not told:
                logger.info("egress: waiting for a keeper to make %s", ours)
                told = True
            await asyncio.sleep(KEEPER_S)

    async def _open(self, sandbox_id: int) -> None:
        if sandbox_id not in self._doors:
            path = self.root / str(sandbox_id) / doors.SOCKET
            path.unlink(missing_ok=True)

            async def come(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await self._pass(sandbox_id, reader, writer)

            self._doors[sandbox_id] = await asyncio.start_unix_server(come, path)
            # Writable by all: guests run as an unprivileged user, and only the door's sandbox mounts the folder.
            path.chmod(0o666)

    async def _sweep(self) -> None:
        """Close the doors of removed sandboxes."""
        # A door that is opened while Postgres is asked may be of a sandbox that its answer does not name.
        opened = set(self._doors)
        try:
            known = set(await self._ask(sandboxes))
        except Exception as e:
            logger.warning("egress: closing old doors failed: %s", without_text(e))
            return
        for sandbox_id in opened - known:
            self._doors.pop(sandbox_id).close()
            del self._accepted[sandbox_id]
            # The keeper removes the folder, and may have done so.
            (self.root / str(sandbox_id) / doors.SOCKET).unlink(missing_ok=True)

    async def _control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one question of the keeper or a worker. No other process can reach the socket."""
        try:
            question = json.loads(await reader.readline())
            writer.write(json.dumps(await self._answer(question)).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError, KeyError, TypeError) as e:
            logger.warning("egress: control: %s", without_text(e))
        finally:
            writer.close()

    async def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        if "try" in question:
            return {"tried": {host: await self._try(host) for host in TRIALS}}
        await self._open(int(question["open"]))
        return {"opened": True}

    # -- connections ----------------------------------------------------------------------------------

    async def _pass(self, sandbox_id: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of a guest."""
        try:
            self._accepted[sandbox_id] += 1
            full = self._connections[sandbox_id] >= MAX_OPEN_PER_DOOR or self._connections.total() >= MAX_OPEN
            if full or self._accepted[sandbox_id] > MAX_ACCEPTED_PER_DOOR:
                return
            self._connections[sandbox_id] += 1
            try:
                if execution_id := await self._ask(execution_behind, sandbox_id):
                    parent = await self._ask(trace_of, execution_id) if tracing.is_on() else ""
                    ids = {"sandbox.execution_id": str(execution_id)}
                    with tracing.span("egress connection", parent=parent, **ids):
                        await self._carry(execution_id, reader, writer)
            finally:
                self._connections[sandbox_id] -= 1
                if not self._connections[sandbox_id]:
                    del self._connections[sandbox_id]
        except Exception as e:
            # The connection's outermost frame: an error ends only this connection.
            logger.warning("egress: sandbox %s: %s", sandbox_id, without_text(e))
        finally:
            writer.close()

    async def _carry(self, execution_id: UUID, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        spending = await self._spending_of(execution_id)
        # Once everything is spent, a connection serves only to have its request recorded and refused.
        limited = Spending(settings.SANDBOX_EGRESS_BYTES - CHUNK) if spending.over else spending
        try:
            from_proxy, to_proxy = await self._proxy(execution_id)
        except (OSError, TimeoutError) as e:
            logger.error("egress: the proxy does not answer: %s", e)
            writer.write(UNAVAILABLE)
            await hang_up(reader, writer)
            return
        try:
            await carry((reader, to_proxy), (from_proxy, writer), limited)
        finally:
            to_proxy.close()

    async def _spending_of(self, execution_id: UUID) -> Spending:
        """Return what the execution has spent; after a restart of the gateway, what its ended requests have."""
        if execution_id not in self._spending:
            number = await self._ask(policy.bytes_of, execution_id)
            self._spending.setdefault(execution_id, Spending(number))
            while len(self._spending) > REMEMBERED:
                self._spending.popitem(last=False)
        return self._spending[execution_id]

    def _spent(self, execution_id: UUID) -> bool:
        spending = self._spending.get(execution_id)
        return spending is not None and spending.over

    async def _proxy(self, execution_id: UUID) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = address_of(settings.SANDBOX_EGRESS_PROXY)
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"PROXY TCP6 {ipaddress.IPv6Address(execution_id.int)} ::1 1 {port}\r\n".encode())
        return reader, writer

    # -- the proxy's questions and log lines ----------------------------------------------------------

    async def _proxy_asks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection of the proxy.

        Its first line is `decide` or `log`, the kind of all other lines, with the secret that only the proxy shares:
        whoever else could reach this port would otherwise have requests recorded that no program made.
        """
        asking = asyncio.Semaphore(4 * THREADS)
        tasks: set[asyncio.Task[None]] = set()

        async def answer(line: str) -> None:
            async with asking:
                writer.write(f"{await self._decide(line)}\n".encode())
                await writer.drain()

        try:
            async with asyncio.timeout(INTRODUCTION_S):
                kind, _, secret = (await reader.readline()).strip().partition(b" ")
            if not is_proxy(secret):
                logger.warning("egress: refused a connection without the proxy's secret")
                return
            while line := await reader.readline():
                text = line.decode("ascii", "replace").strip()
                if kind == b"decide":
                    task = asyncio.ensure_future(answer(text))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                elif kind == b"log":
                    await self._complete(text)
        except (OSError, ValueError) as e:  # a TimeoutError, too
            logger.warning("egress: the proxy's connection: %s", without_text(e))
        finally:
            writer.close()

    async def _decide(self, line: str) -> str:
        """Answer a line `channel address method host port` in the format of squid's external ACL helpers."""
        channel, *words = line.split()
        try:
            address, method, host, port, *_ = words  # squid may append a placeholder for the ACL's arguments
            request = policy.ProxyRequest.of(execution_of(address), method, host, port)
        except ValueError:
            return f"{channel} ERR"
        if request.execution_id == self._trial:
            return f"{channel} {'OK' if request.host in TRIALS else 'ERR'}"
        try:
            spent = self._spent(request.execution_id)
            row = await self._ask(partial(policy.decide, spent=spent), request, self._count(request.execution_id))
        except Exception as e:
            # The request is not recorded, therefore refused.
            logger.error("egress: decision failed, request refused: %s", without_text(e))
            return f"{channel} BH"
        if row is None:
            return f"{channel} ERR"
        return f"{channel} {'OK' if row.allowed else 'ERR'} tag={row.pk}"

    def _count(self, execution_id: UUID) -> int:
        """Count a request; return the number of earlier requests of the execution."""
        seen = self._seen.pop(execution_id, 0)
        self._seen[execution_id] = seen + 1
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return seen

    async def _complete(self, line: str) -> None:
        try:
            ended = parse_ended(line)
        except ValueError:
            logger.warning("egress: malformed log line of the proxy")
            return
        if ended.request.execution_id == self._trial or not ended.request.execution_id.int:
            return
        # Requests over the limit are refused without a row.
        if (
            ended.request_id is None
            and self._seen.get(ended.request.execution_id, 0) > settings.SANDBOX_EGRESS_REQUESTS
        ):
            return
        if ended.request_id is None:
            self._count(ended.request.execution_id)
        try:
            spent = self._spent(ended.request.execution_id)
            if not await self._ask(partial(policy.complete, spent=spent), ended):
                logger.warning(
                    "egress: execution %s: end of a request arrived too late", ended.request.execution_id
                )
        except Exception as e:
            logger.error("egress: recording the end of a request failed: %s", without_text(e))

    async def _try(self, host: str) -> str:
        """Send the proxy a request that the rules allow; return the name of its refusal, or the status line."""
        try:
            reader, writer = await self._proxy(self._trial)
            try:
                writer.write(f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                async with asyncio.timeout(CONNECT_S):
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            finally:
                writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as e:
            return f"no response: {type(e).__name__}"
        for name, _, value in (line.partition(":") for line in head.split("\r\n")):
            if name.lower() == "x-squid-error":
                return value.split()[0]
        return head.split("\r\n")[0]

    async def _ask(self, work: Callable[..., Any], *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._database, in_session, work, *arguments)


def in_session(work: Callable[..., Any], *arguments: Any) -> Any:
    """Call `work` in a pool thread; on a database error drop the thread's connection, which may be broken."""
    try:
        return work(*arguments)
    except (OperationalError, InterfaceError):
        connection.close()
        raise


def sandboxes() -> list[int]:
    return list(Sandbox.objects.filter(node=settings.SANDBOX_NODE).values_list("pk", flat=True))


def execution_behind(sandbox_id: int) -> UUID | None:
    """Return the execution that runs in the sandbox, or None if none does or it has no egress."""
    claimed = Sandbox.objects.filter(
        pk=sandbox_id, node=settings.SANDBOX_NODE, state=SandboxState.CLAIMED, network=Network.EGRESS
    )
    execution_id = claimed.values_list("execution_id", flat=True).first()
    if execution_id is None:
        return None
    running = Execution.objects.filter(pk=execution_id, status=Status.RUNNING, network=Network.EGRESS)
    return execution_id if running.exists() else None


def trace_of(execution_id: UUID) -> str:
    """Return the span that the execution's spans belong to, "" without one."""
    return Execution.objects.values_list("traceparent", flat=True).get(pk=execution_id)


def is_proxy(secret: bytes) -> bool:
    """Return whether this is the proxy's secret. Without a configured one, nobody is the proxy."""
    known = settings.SANDBOX_EGRESS_SECRET.encode()
    return bool(known) and hmac.compare_digest(secret, known)


def address_of(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def execution_of(address: str) -> UUID:
    """Return the execution id that is encoded as an IPv6 address. Raises ValueError."""
    return UUID(int=int(ipaddress.IPv6Address(address)))


def parse_ended(line: str) -> policy.CompletedRequest:
    """Parse a line of the proxy's log, whose format is in images/egress/entrypoint. Raises ValueError."""
    tag, address, method, host, port, result, status, reason, peer, sent, received = line.split()
    try:
        execution_id = execution_of(address)
    except ValueError:
        execution_id = UUID(int=0)  # an IPv4 address or none: not the request of a sandbox
    return policy.CompletedRequest(
        request=policy.ProxyRequest.of(execution_id, method, host, port),
        request_id=int(tag) if tag.isdigit() else None,
        denied="DENIED" in result,
        reason="" if reason == NONE else reason,
        status=_number(status) or None,
        address=str(ipaddress.ip_address(peer)) if peer != NONE else None,
        bytes_sent=_number(sent),
        bytes_received=_number(received),
    )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
