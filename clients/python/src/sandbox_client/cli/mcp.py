"""`sandbox mcp`: the platform's MCP server over stdio, for programs that start their servers themselves."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import sys
import threading

import anyio
import click

from sandbox_client.cli import settings
from sandbox_client.cli.bridge import Bridge
from sandbox_client.cli.exits import PIPE_CLOSED


@click.command()
@click.pass_context
def mcp(context: click.Context) -> None:
    """Serve MCP on stdin and stdout, to desktop programs such as Claude Desktop and Cursor.

    The tools are the platform's, called with the login of this command. Ends with stdin, and cancels what still runs.

    \b
    {"mcpServers": {"sandbox": {"command": "sandbox", "args": ["mcp"]}}}
    """
    address = settings.url(context.find_root().obj)
    out = os.dup(1)
    # Whatever else is printed must not get between the messages.
    os.dup2(2, 1)
    _log(f"MCP of {address} on stdin and stdout")
    sys.exit(anyio.run(_serve, address, out))


async def _serve(address: str, out: int) -> int:
    """Connect stdin and the file `out` with the platform, and return the status to exit with."""
    loop = asyncio.get_running_loop()
    feed, lines = anyio.create_memory_object_stream[bytes](math.inf)

    def read() -> None:
        # The loop may be closed before stdin ends.
        with contextlib.suppress(RuntimeError):
            # Not `sys.stdin`, whose lock Python takes when it exits.
            with open(0, "rb", closefd=False) as stdin:
                for line in stdin:
                    loop.call_soon_threadsafe(feed.send_nowait, line)
            loop.call_soon_threadsafe(feed.close)

    async def write(line: bytes) -> None:
        await anyio.to_thread.run_sync(_write, out, line)

    bridge = Bridge(address, lambda: _token(address), write, log=_log)
    status = 0

    async def stop_on_signal() -> None:
        nonlocal status
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                status = 128 + number
                bridge.stop()

    # A daemon: nothing can end its wait for stdin, and the process must not wait for it.
    threading.Thread(target=read, daemon=True).start()
    async with anyio.create_task_group() as tasks:
        if sys.platform != "win32":
            tasks.start_soon(stop_on_signal)
        await bridge.serve(lines)
        tasks.cancel_scope.cancel()
    return PIPE_CLOSED if bridge.is_deaf else status


def _write(file: int, line: bytes) -> None:
    left = memoryview(line)
    while left:
        left = left[os.write(file, left) :]


def _token(address: str) -> str:
    try:
        return settings.token(address)
    except click.ClickException as e:
        _log(e.message)
        return ""


def _log(text: str) -> None:
    click.echo(f"sandbox: {text}", err=True)
