import asyncio
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from executions.egress.gateway import Gateway
from executions.egress.listening import Doors
from executions.egress.nodes import Nodes
from executions.egress.serving import until_stopped
from sandbox_platform.kit import tracing
from sandbox_platform.kit.service import ServiceCommand


class Command(ServiceCommand):
    help = (
        "Run the egress gateway: of the doors of this node's sandboxes, or with SANDBOX_EGRESS_NODES_LISTEN of the "
        "doors of other machines. Runs until stopped."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(until_stopped(serve()))
        tracing.flush()


async def serve() -> None:
    gateway = Gateway(nodes=bool(settings.SANDBOX_EGRESS_NODES_LISTEN))
    if not settings.SANDBOX_EGRESS_NODES_LISTEN:
        await gateway.run(Doors(gateway))
        return
    try:
        nodes = Nodes(gateway)
    except ValueError as e:
        raise CommandError(str(e)) from e
    await gateway.run(nodes)
