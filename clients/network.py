"""The network of a client's runs."""

from clients.models import Client
from runtimes.models import Network, Runtime


def network_of(runtime: Runtime, client: Client | None) -> Network:
    """Return EGRESS only where both the runtime and the client have it."""
    both = client is not None and client.network == runtime.network == Network.EGRESS
    return Network.EGRESS if both else Network.NONE
