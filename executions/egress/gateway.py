"""The egress gateway, the host's side of the doors.

Each sandbox has a door of its own, so the gateway knows which sandbox sends a request and need not trust the guest. The
doors are on this machine (listening.py), or on others whose nodes forward them (nodes.py, forwarding.py).

The gateway does not parse the traffic. It opens each connection to the proxy with a PROXY header whose source address
is the execution's id: both have 128 bits. For each request the proxy asks the gateway for a decision, and afterwards
reports how the request ended.
"""

import asyncio
import contextlib
import hmac
import ipaddress
import logging
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from executions.egress import policy
from executions.egress.admission import Admission
from executions.egress.carrying import CHUNK, Reader, Spending, Writer, carry, hang_up
from executions.egress.links import address_of
from executions.models import Execution, Status
from runtimes.models import Network
from sandbox_platform.kit import tracing
from sandbox_platform.kit.failures import without_text
from sandboxes.models import Sandbox, SandboxState

logger = logging.getLogger(__name__)

SWEEP_S = 10
THREADS = 8
CONNECT_S = 10
INTRODUCTION_S = 10
REMEMBERED = 10_000
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
# Names in the proxy's hosts file (images/egress/entrypoint) with refused addresses, for the doctor's check of the
# proxy.
TRIALS = ("loopback.egress.invalid", "private.egress.invalid", "metadata.egress.invalid")
NONE = "-"


class Entrance(Protocol):
    """Where connections of guests come from."""

    async def start(self) -> None:
        """Listen. Raises OSError."""

    async def sweep(self) -> None:
        """Drop what is not needed any more."""

    def close(self) -> None:
        """Listen no more."""


class Gateway:
    def __init__(self, *, nodes: bool = False) -> None:
        """`nodes`: the doors are on other machines."""
        self._admission = Admission(links=nodes, nodes=nodes)
        self._database = ThreadPoolExecutor(THREADS, "egress")
        # Which execution the connection that a task serves belongs to, by node and sandbox.
        self._served: dict[asyncio.Task[Any], tuple[str, int, UUID]] = {}
        self._seen: OrderedDict[UUID, int] = OrderedDict()
        self._spending: OrderedDict[UUID, Spending] = OrderedDict()
        # Stands for the execution in the doctor's requests. Random, so that no guest can use it.
        self._trial = UUID(bytes=secrets.token_bytes(16))

    async def run(self, entrance: Entrance) -> None:
        """Serve until cancelled."""
        host, port = address_of(settings.SANDBOX_EGRESS_LISTEN)
        proxy = await asyncio.start_server(self._proxy_asks, host, port)
        try:
            await entrance.start()
            while True:
                await asyncio.sleep(SWEEP_S)
                await entrance.sweep()
                await self.sweep()
        finally:
            # Not waiting for their connections, which last as long as the other side likes.
            entrance.close()
            proxy.close()

    # -- connections ----------------------------------------------------------------------------------

    async def come(self, sandbox_id: int, reader: Reader, writer: Writer) -> None:
        """Serve one connection of a guest of this machine. The caller closes it."""
        async with self.admitted(settings.SANDBOX_NODE, sandbox_id) as execution_id:
            if execution_id is not None:
                await self.serve(execution_id, reader, writer)

    @contextlib.asynccontextmanager
    async def admitted(self, node: str, sandbox_id: int) -> AsyncIterator[UUID | None]:
        """Hold a place for one connection of a door of the node.

        Yields the execution behind the door, None if the connection is refused. The task that holds the place is
        cancelled once the execution does not run there any more.
        """
        with self._admission.place(node, sandbox_id) as has_place:
            if not has_place:
                yield None
                return
            async with self._admission.peer(node).asking:
                execution_id = await self._ask(execution_behind, node, sandbox_id)
            task = asyncio.current_task()
            if execution_id is None or task is None:
                yield None
                return
            self._served[task] = (node, sandbox_id, execution_id)
            try:
                yield execution_id
            finally:
                del self._served[task]

    async def sweep(self) -> None:
        """Close the connections of executions that have ended: a node that is lost, or taken over, does not."""
        served = dict(self._served)
        if not served:
            return
        try:
            behind = await self._ask(executions_behind, {sandbox_id for _, sandbox_id, _ in served.values()})
        except Exception as e:
            logger.warning("egress: closing old connections failed: %s", without_text(e))
            return
        for task, (node, sandbox_id, execution_id) in served.items():
            if behind.get((node, sandbox_id)) != execution_id:
                task.cancel()

    async def serve(self, execution_id: UUID, reader: Reader, writer: Writer) -> None:
        """Carry a connection of the execution to the proxy and back."""
        parent = await self._ask(trace_of, execution_id) if tracing.is_on() else ""
        with tracing.span("egress connection", parent=parent, **{"sandbox.execution_id": str(execution_id)}):
            await self._carry(execution_id, reader, writer)

    async def _carry(self, execution_id: UUID, reader: Reader, writer: Writer) -> None:
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
            seen = await self._count(request.execution_id)
            spent = self._spent(request.execution_id)
            row = await self._ask(partial(policy.decide, spent=spent), request, seen)
        except Exception as e:
            # The request is not recorded, therefore refused.
            logger.error("egress: decision failed, request refused: %s", without_text(e))
            return f"{channel} BH"
        if row is None:
            return f"{channel} ERR"
        return f"{channel} {'OK' if row.allowed else 'ERR'} tag={row.pk}"

    async def _count(self, execution_id: UUID) -> int:
        """Count a request; return the number of earlier requests of the execution.

        After a restart, or in a gateway that takes over from another one, the recorded ones are the earlier ones.
        """
        seen = self._seen.pop(execution_id, None)
        if seen is None:
            recorded = await self._ask(policy.count_of, execution_id)
            # Others of the execution may have been counted meanwhile.
            seen = max(recorded, self._seen.pop(execution_id, 0))
        self._seen[execution_id] = seen + 1
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return int(seen)

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
        try:
            if ended.request_id is None:
                await self._count(ended.request.execution_id)
            spent = self._spent(ended.request.execution_id)
            if not await self._ask(partial(policy.complete, spent=spent), ended):
                logger.warning(
                    "egress: execution %s: end of a request arrived too late", ended.request.execution_id
                )
        except Exception as e:
            logger.error("egress: recording the end of a request failed: %s", without_text(e))

    async def tried(self) -> dict[str, Any]:
        """Return the proxy's answers to requests that it must refuse, by host: see the doctor's check."""
        return {"tried": {host: await self._try(host) for host in TRIALS}}

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


def execution_behind(node: str, sandbox_id: int) -> UUID | None:
    """Return the execution that runs in the node's sandbox, None if none does or it has no egress."""
    return executions_behind({sandbox_id}).get((node, sandbox_id))


def executions_behind(sandbox_ids: Collection[int]) -> dict[tuple[str, int], UUID]:
    """Return the executions with egress that run in these sandboxes, by node and sandbox."""
    claimed = Sandbox.objects.filter(
        pk__in=sandbox_ids, state=SandboxState.CLAIMED, network=Network.EGRESS
    ).values_list("node", "pk", "execution_id")
    behind = {(node, pk): execution_id for node, pk, execution_id in claimed if execution_id is not None}
    running = Execution.objects.filter(pk__in=behind.values(), status=Status.RUNNING, network=Network.EGRESS)
    # The gateway's role in Postgres does not see the column by which executions are ordered.
    ids = set(running.order_by().values_list("pk", flat=True))
    return {door: execution_id for door, execution_id in behind.items() if execution_id in ids}


def trace_of(execution_id: UUID) -> str:
    """Return the span that the execution's spans belong to, "" without one."""
    return Execution.objects.values_list("traceparent", flat=True).get(pk=execution_id)


def is_proxy(secret: bytes) -> bool:
    """Return whether this is the proxy's secret. Without a configured one, nobody is the proxy."""
    known = settings.SANDBOX_EGRESS_SECRET.encode()
    return bool(known) and hmac.compare_digest(secret, known)


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
