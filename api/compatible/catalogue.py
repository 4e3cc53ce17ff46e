"""The runtimes that a client may use, as formats list and name them."""

import re

from api.mcp.tools import usable
from clients.models import Client
from runtimes.models import Runtime
from runtimes.validators import ALIAS

__all__ = ["runtime_for", "usable"]


def runtime_for(name: str, client: Client | None) -> Runtime | None:
    """Return the usable runtime with this slug or alias, in any case of letters."""
    name = name.lower()
    if not re.fullmatch(ALIAS, name):
        return None
    found = Runtime.objects.lean().enabled().named(name).first()
    return found if found and (client is None or client.may_use(found)) else None
