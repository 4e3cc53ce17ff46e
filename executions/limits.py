"""Compute a run's limits: the lowest of the runtime's limit, the client's cap and the requested value."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clients.models import Client
from runtimes.models import ADJUSTABLE, Limits, Runtime
from sandbox_platform.kit.units import exact_of


class LimitTooHigh(ValueError):
    def __init__(self, field: str, cap: int, cap_name: str) -> None:
        super().__init__(f"{field} is above {cap_name}, which is {exact_of(field, cap)}.")
        self.field = field
        self.cap = cap

    @property
    def remedy(self) -> str:
        # Requests state limits without units.
        quantity = exact_of(self.field, self.cap)
        return f"Request at most {self.cap}{'' if quantity == str(self.cap) else f' ({quantity})'}"


def ceiling(runtime: Runtime, client: Client | None, field: str) -> tuple[int, str]:
    """Return the highest value that a request of the client may ask for, and what sets it, in words."""
    cap, cap_name = getattr(runtime.limits, field), f"the limit of the runtime {runtime.slug}"
    client_cap = getattr(client, f"max_{field}", None)
    if client_cap is not None and client_cap < cap:
        cap, cap_name = client_cap, f"the cap of the client {client}"
    return cap, cap_name


def effective_limits(runtime: Runtime, client: Client | None, requested: Mapping[str, int]) -> Limits:
    """Return the limits of a run. `requested`: values by names of ADJUSTABLE.

    Raises LimitTooHigh for a requested value above its cap. If the value were lowered silently, the run could fail
    later without an obvious reason.
    """
    values: dict[str, Any] = {}
    for field in ADJUSTABLE:
        cap, cap_name = ceiling(runtime, client, field)
        if requested.get(field, 0) > cap:
            raise LimitTooHigh(field, cap, cap_name)
        values[field] = requested.get(field, cap)
    return replace(runtime.limits, **values)
