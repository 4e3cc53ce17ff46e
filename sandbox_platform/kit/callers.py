"""The address of a caller, behind proxies or not. Lock-out, audit trail and executions use this one."""

import ipaddress

from django.conf import settings
from django.http import HttpRequest

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def remote_address(request: HttpRequest) -> str | None:
    """Return the address that the request came from, or None if it is unknown, as behind a Unix socket.

    X-Forwarded-For is read from the right, as far as proxies in SANDBOX_TRUSTED_PROXIES wrote it: the first address
    that is not such a proxy's is the caller's. What stands left of it, the caller may have invented.
    """
    nearest = _parsed(request.META.get("REMOTE_ADDR", ""))
    if nearest is None:
        return None
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    while _is_trusted(nearest) and forwarded:
        further = _parsed(forwarded.pop())
        if further is None:
            break
        nearest = further
    return str(nearest)


def _is_trusted(address: Address) -> bool:
    return any(address in network for network in settings.SANDBOX_TRUSTED_PROXIES)


def _parsed(text: str) -> Address | None:
    """Return the address, which some proxies write with a port; None if it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
