"""The runtimes as formats name them."""

import re
from typing import Any

from clients.models import Client
from runtimes.models import Runtime
from runtimes.validators import ALIAS


def runtime_named(name: Any, client: Client | None, refusal: Exception) -> Runtime:
    """Return the usable runtime with this slug or alias, in any case of letters, or raise the refusal."""
    name = name.lower() if isinstance(name, str) else ""
    if not re.fullmatch(ALIAS, name):
        raise refusal
    runtime = Runtime.objects.lean().enabled().named(name).first()
    if runtime is None or (client and not client.may_use(runtime)):
        raise refusal
    return runtime
