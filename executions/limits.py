"""What one run may use: the least of what the runtime, the client and the request say."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clients.models import Client
from runtimes.models import ADJUSTABLE, Limits, Runtime


class LimitTooHigh(ValueError):
    def __init__(self, field: str, cap: int, whose: str) -> None:
        super().__init__(f"{field} is above {whose}, which is {cap}.")
        self.field = field
        self.cap = cap
        self.whose = whose


def effective_limits(runtime: Runtime, client: Client | None, requested: Mapping[str, int]) -> Limits:
    """Raises LimitTooHigh for a requested value above its cap: a run under less than was asked for would fail
    later, and nobody would know why."""
    limits = runtime.limits
    values: dict[str, Any] = {}
    for field in ADJUSTABLE:
        cap, whose = getattr(limits, field), f"the limit of the runtime {runtime.slug}"
        clients = getattr(client, f"max_{field}", None)
        if clients is not None and clients < cap:
            cap, whose = clients, f"the cap of the client {client}"
        if requested.get(field, 0) > cap:
            raise LimitTooHigh(field, cap, whose)
        values[field] = requested.get(field, cap)
    return replace(limits, **values)
