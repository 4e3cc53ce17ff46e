import asyncio
from typing import Any

from django.core.management.base import CommandError

from executions.egress.forwarding import Forwarder
from executions.egress.serving import until_stopped
from sandbox_platform.kit.service import ServiceCommand


class Command(ServiceCommand):
    help = (
        "Listen on the doors of this node's sandboxes and forward them to the egress gateway at "
        "SANDBOX_EGRESS_REMOTE. Needs no database. Runs until stopped."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(until_stopped(serve()))


async def serve() -> None:
    try:
        forwarder = Forwarder()
    except ValueError as e:
        raise CommandError(str(e)) from e
    await forwarder.run()
