import asyncio
import contextlib
import signal
from typing import Any

from executions.egress.gateway import Gateway
from sandbox_platform.kit import tracing
from sandbox_platform.kit.service import ServiceCommand


class Command(ServiceCommand):
    help = "Run the egress gateway, which listens on the doors of this node's sandboxes. Runs until stopped."

    def handle(self, *args: Any, **options: Any) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(serve())
        tracing.flush()


async def serve() -> None:
    task = asyncio.ensure_future(Gateway().run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    await task
