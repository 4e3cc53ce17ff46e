"""The doors of this machine's sandboxes: a listener for each, and the control socket by which keeper and workers ask
for them."""

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import Any, Protocol

from django.conf import settings

from sandbox_platform.kit.failures import without_text
from sandboxes import doors

logger = logging.getLogger(__name__)

KEEPER_S = 0.5


class Behind(Protocol):
    """What is behind the doors: the gateway, or the way to one elsewhere."""

    async def come(self, sandbox_id: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of a guest. The caller closes it."""

    async def tried(self) -> dict[str, Any]:
        """Return the answer to the doctor's question about the proxy."""


class Doors:
    def __init__(self, behind: Behind) -> None:
        self.root = doors.root()
        self._behind = behind
        self._servers: dict[int, asyncio.Server] = {}
        self._control: asyncio.Server | None = None

    @property
    def open(self) -> set[int]:
        """Return the ids of the sandboxes whose doors have a listener."""
        return set(self._servers)

    async def start(self) -> None:
        """Open the doors whose folders are there, and answer on the control socket. Raises OSError."""
        control = self.root / doors.CONTROL
        await self._folders(control.parent)
        for sandbox_id in doors.all_made():
            await self.make(sandbox_id)
        control.unlink(missing_ok=True)
        self._control = await asyncio.start_unix_server(self._asked, control)
        # Keeper and workers are other users. Nobody else gets into the folder.
        control.chmod(0o666)
        logger.info("egress of node %s: doors in %s", settings.SANDBOX_NODE, self.root)

    def close(self) -> None:
        """Listen no more. Open connections end with the process."""
        for server in (self._control, *self._servers.values()):
            if server is not None:
                server.close()
        self._servers.clear()

    async def _folders(self, ours: Path) -> None:
        """Wait for the folders, which the keeper makes: this process may replace none of them."""
        told = False
        while not os.access(ours, os.W_OK):
            if not told:
                logger.info("egress: waiting for a keeper to make %s", ours)
                told = True
            await asyncio.sleep(KEEPER_S)

    async def make(self, sandbox_id: int) -> None:
        """Listen on the sandbox's door. Raises OSError."""
        if sandbox_id not in self._servers:
            path = self.root / str(sandbox_id) / doors.SOCKET
            path.unlink(missing_ok=True)

            async def come(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await self._come(sandbox_id, reader, writer)

            self._servers[sandbox_id] = await asyncio.start_unix_server(come, path)
            # Writable by all: guests run as an unprivileged user, and only the door's sandbox mounts the folder.
            path.chmod(0o666)

    async def sweep(self) -> None:
        """Close the doors of removed sandboxes, whose folders the keeper has removed."""
        for sandbox_id in self.open:
            try:
                (self.root / str(sandbox_id)).lstat()
            except FileNotFoundError:
                self._servers.pop(sandbox_id).close()
            except OSError as e:
                logger.warning("egress: door %s cannot be looked at and stays: %s", sandbox_id, e.strerror)

    async def _come(self, sandbox_id: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._behind.come(sandbox_id, reader, writer)
        except asyncio.CancelledError:
            # The run is over, or the process stops. asyncio would log it as a fault.
            return
        except Exception as e:
            # The connection's outermost frame: an error ends only this connection.
            logger.warning("egress: sandbox %s: %s", sandbox_id, without_text(e))
        finally:
            writer.close()

    async def _asked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
            return await self._behind.tried()
        await self.make(int(question["open"]))
        return {"opened": True}
