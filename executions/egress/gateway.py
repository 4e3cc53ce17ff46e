"""The host's side of the doors: one listener a sandbox, so that who asks is a fact of the host and nothing that
the guest says.

It understands nothing of what passes. To each connection to the proxy it first says, in a PROXY header, whose it
is: the address it gives as the caller's is the execution's id, which has 128 bits as an IPv6 address has. The
proxy asks here, for each request, whether it may pass, and tells how it ended.
"""

import asyncio
import contextlib
import ipaddress
import json
import logging
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from executions.egress import policy
from executions.models import Execution, Status
from runtimes.models import Network
from sandbox_platform.kit.failures import without_text
from sandboxes import doors
from sandboxes.models import Sandbox, SandboxState

logger = logging.getLogger(__name__)

CHUNK = 65536
MOST_OF_A_DOOR = 64
MOST = 2000
# Of one door, one after the other: each costs a look into Postgres.
MOST_EVER = 5 * settings.SANDBOX_EGRESS_REQUESTS
SWEEP_S = 10
THREADS = 8
CONNECT_S = 10
REMEMBERED = 10_000
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
# Hosts of the proxy's own hosts file: see images/egress/entrypoint. For whoever checks that it refuses addresses.
TRIALS = ("loopback.egress.invalid", "private.egress.invalid", "metadata.egress.invalid")
NONE = "-"


class Gateway:
    def __init__(self) -> None:
        self.root = doors.root()
        self._database = ThreadPoolExecutor(THREADS, "egress")
        self._doors: dict[int, asyncio.Server] = {}
        self._connections: Counter[int] = Counter()
        self._comers: Counter[int] = Counter()
        self._seen: OrderedDict[UUID, int] = OrderedDict()
        # Whose requests are the doctor's. It has no execution, and nobody can guess it.
        self._trial = UUID(bytes=secrets.token_bytes(16))

    async def run(self) -> None:
        """Until it is cancelled."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        self._folder(doors.DARK)
        for folder in self.root.iterdir():
            if folder.name.isdigit():
                await self._open(int(folder.name))
        control = self.root / doors.CONTROL
        control.unlink(missing_ok=True)
        host, port = address_of(settings.SANDBOX_EGRESS_LISTEN)
        async with (
            await asyncio.start_server(self._proxy_asks, host, port),
            await asyncio.start_unix_server(self._control, control),
        ):
            logger.info("egress of node %s: doors in %s", settings.SANDBOX_NODE, self.root)
            while True:
                await asyncio.sleep(SWEEP_S)
                await self._sweep()

    # -- doors ----------------------------------------------------------------------------------------

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        return folder

    async def _open(self, sandbox_id: int) -> Path:
        folder = self._folder(str(sandbox_id))
        if sandbox_id not in self._doors:
            path = folder / doors.SOCKET
            path.unlink(missing_ok=True)

            async def come(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await self._pass(sandbox_id, reader, writer)

            self._doors[sandbox_id] = await asyncio.start_unix_server(come, path)
            # The guest's programs are nobody to the host; only its own sandbox can see the folder.
            path.chmod(0o666)
        return folder

    async def _sweep(self) -> None:
        """Doors of sandboxes that are gone."""
        try:
            known = set(await self._ask(sandboxes))
        except Exception as e:
            logger.warning("egress: doors are not swept: %s", without_text(e))
            return
        for sandbox_id in set(self._doors) - known:
            self._doors.pop(sandbox_id).close()
            del self._comers[sandbox_id]
            folder = self.root / str(sandbox_id)
            (folder / doors.SOCKET).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                folder.rmdir()

    async def _control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Of the keeper and the workers, who alone can see the socket."""
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
        sandbox_id = question["open"]
        folder = await self._open(int(sandbox_id)) if sandbox_id is not None else self.root / doors.DARK
        return {"door": str(folder)}

    # -- what passes ----------------------------------------------------------------------------------

    async def _pass(self, sandbox_id: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a guest."""
        try:
            self._comers[sandbox_id] += 1
            crowd = self._connections[sandbox_id] >= MOST_OF_A_DOOR or self._connections.total() >= MOST
            if crowd or self._comers[sandbox_id] > MOST_EVER:
                return
            self._connections[sandbox_id] += 1
            try:
                if execution_id := await self._ask(execution_behind, sandbox_id):
                    await self._carry(execution_id, reader, writer)
            finally:
                self._connections[sandbox_id] -= 1
                if not self._connections[sandbox_id]:
                    del self._connections[sandbox_id]
        except Exception as e:
            # A connection's outermost frame: it alone ends.
            logger.warning("egress: sandbox %s: %s", sandbox_id, without_text(e))
        finally:
            writer.close()

    async def _carry(self, of: UUID, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_proxy, to_proxy = await self._proxy(of)
        except (OSError, TimeoutError) as e:
            logger.error("egress: the proxy does not answer: %s", e)
            writer.write(UNAVAILABLE)
            return
        try:
            # Whichever end closes wholly ends both: what waits for an answer still gets it.
            forth = asyncio.ensure_future(pump(reader, to_proxy))
            back = asyncio.ensure_future(pump(from_proxy, writer))
            await back
            forth.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await forth
        finally:
            to_proxy.close()

    async def _proxy(self, of: UUID) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = address_of(settings.SANDBOX_EGRESS_PROXY)
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"PROXY TCP6 {ipaddress.IPv6Address(of.int)} ::1 1 {port}\r\n".encode())
        return reader, writer

    # -- what the proxy asks and tells ----------------------------------------------------------------

    async def _proxy_asks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection of the proxy's: its first line says what the others are."""
        asking = asyncio.Semaphore(4 * THREADS)
        tasks: set[asyncio.Task[None]] = set()

        async def answer(line: str) -> None:
            async with asking:
                writer.write(f"{await self._decide(line)}\n".encode())
                await writer.drain()

        try:
            kind = (await reader.readline()).strip()
            while line := await reader.readline():
                text = line.decode("ascii", "replace").strip()
                if kind == b"decide":
                    task = asyncio.ensure_future(answer(text))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                elif kind == b"log":
                    await self._complete(text)
        except (OSError, ValueError) as e:
            logger.warning("egress: the proxy's connection: %s", without_text(e))
        finally:
            writer.close()

    async def _decide(self, line: str) -> str:
        """`channel address method host port`, answered for the proxy's external ACL; see squid's documentation."""
        channel, *words = line.split()
        try:
            address, method, host, port, *_ = words  # squid adds the ACL's arguments, of which there are none
            request = policy.ProxyRequest.of(execution_of(address), method, host, port)
        except ValueError:
            return f"{channel} ERR"
        if request.execution_id == self._trial:
            return f"{channel} {'OK' if request.host in TRIALS else 'ERR'}"
        try:
            row = await self._ask(policy.decide, request, self._count(request.execution_id))
        except Exception as e:
            # Unrecorded, therefore refused.
            logger.error("egress: not decided: %s", without_text(e))
            return f"{channel} BH"
        if row is None:
            return f"{channel} ERR"
        return f"{channel} {'OK' if row.allowed else 'ERR'} tag={row.pk}"

    def _count(self, execution_id: UUID) -> int:
        """Requests of it before this one."""
        seen = self._seen.pop(execution_id, 0)
        self._seen[execution_id] = seen + 1
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return seen

    async def _complete(self, line: str) -> None:
        try:
            ended = parse_ended(line)
        except ValueError:
            logger.warning("egress: the proxy told something that is not understood")
            return
        if ended.request.execution_id == self._trial or not ended.request.execution_id.int:
            return
        # It may have been refused without a row of its own.
        if (
            ended.request_id is None
            and self._seen.get(ended.request.execution_id, 0) > settings.SANDBOX_EGRESS_REQUESTS
        ):
            return
        if ended.request_id is None:
            self._count(ended.request.execution_id)
        try:
            if not await self._ask(policy.complete, ended):
                logger.warning("egress: the end of a request of %s came too late", ended.request.execution_id)
        except Exception as e:
            logger.error("egress: the end of a request is not recorded: %s", without_text(e))

    async def _try(self, host: str) -> str:
        """What the proxy answers to a request for this host that the rules allow: the name of its refusal."""
        try:
            reader, writer = await self._proxy(self._trial)
            try:
                writer.write(f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                async with asyncio.timeout(CONNECT_S):
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            finally:
                writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as e:
            return f"no answer: {type(e).__name__}"
        for name, _, value in (line.partition(":") for line in head.split("\r\n")):
            if name.lower() == "x-squid-error":
                return value.split()[0]
        return head.split("\r\n")[0]

    async def _ask(self, work: Callable[..., Any], *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._database, in_session, work, *arguments)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


def in_session(work: Callable[..., Any], *arguments: Any) -> Any:
    """In a thread of ours, on its own connection to Postgres, which may have broken."""
    try:
        return work(*arguments)
    except (OperationalError, InterfaceError):
        connection.close()
        raise


def sandboxes() -> list[int]:
    return list(Sandbox.objects.filter(node=settings.SANDBOX_NODE).values_list("pk", flat=True))


def execution_behind(sandbox_id: int) -> UUID | None:
    """Whose program runs in it now, if that may call out at all."""
    claimed = Sandbox.objects.filter(
        pk=sandbox_id, node=settings.SANDBOX_NODE, state=SandboxState.CLAIMED, network=Network.EGRESS
    )
    execution_id = claimed.values_list("execution_id", flat=True).first()
    if execution_id is None:
        return None
    running = Execution.objects.filter(pk=execution_id, status=Status.RUNNING, network=Network.EGRESS)
    return execution_id if running.exists() else None


def address_of(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def execution_of(address: str) -> UUID:
    """Raises ValueError."""
    return UUID(int=int(ipaddress.IPv6Address(address)))


def parse_ended(line: str) -> policy.CompletedRequest:
    """A line of the proxy's log, see images/egress/entrypoint. Raises ValueError."""
    tag, address, method, host, port, result, status, reason, peer, sent, received = line.split()
    try:
        execution_id = execution_of(address)
    except ValueError:
        execution_id = UUID(int=0)  # its own, or an IPv4 address: no sandbox's
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
