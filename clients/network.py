"""The network of a client's runs."""

from clients.models import Client
from runtimes.models import Network, Runtime


def network_of(runtime: Runtime, client: Client | None) -> Network:
    """Return EGRESS only where both the runtime and the client have it."""
    return Network.EGRESS if has_egress(runtime, client) else Network.NONE


def has_egress(runtime: Runtime, client: Client | None) -> bool:
    return client is not None and client.network == runtime.network == Network.EGRESS
