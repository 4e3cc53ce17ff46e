"""The address of a caller, behind proxies or not. Lock-out, audit trail and executions use this one."""

import ipaddress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from sandbox_platform.kit.actors import actor_of

ROUTES = Path("/proc/net/route")
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


def proxy_note(request: HttpRequest) -> str:
    """Return why the addresses that the platform records are not the callers' own, or "" if they are.

    The request that asks is the sample: it came through a proxy that is not trusted, or through Docker's forwarding.
    """
    nearest = _parsed(request.META.get("REMOTE_ADDR", ""))
    if nearest is None or _is_trusted(nearest):
        return ""
    if request.META.get("HTTP_X_FORWARDED_FOR"):
        return (
            f"Addresses here are those of the proxy: this page was asked for through {nearest}, which names the caller "
            f"in X-Forwarded-For and is not believed. If the proxy is yours, set SANDBOX_TRUSTED_PROXIES={nearest}/"
            f"{nearest.max_prefixlen} in .env and run make restart."
        )
    if nearest.is_loopback or str(nearest) != _gateway():
        return ""
    return (
        f"Addresses here may be Docker's: this page was asked for from {nearest}, the gateway of the container's "
        "network, as which Docker forwards connections. Callers keep their address behind a reverse proxy that sets "
        "X-Forwarded-For and is named in SANDBOX_TRUSTED_PROXIES."
    )


def _gateway() -> str:
    """Return the address of this host's default gateway, "" if there is none."""
    try:
        routes = ROUTES.read_text().splitlines()[1:]
    except OSError:
        return ""
    # Interface, destination and gateway, the last two as hexadecimal numbers in the host's byte order.
    rows = [line.split() for line in routes]
    found = [row[2] for row in rows if len(row) > 2 and row[1] == "00000000"]
    return str(ipaddress.IPv4Address(bytes.fromhex(found[0])[::-1])) if found else ""


def origin_of(request: Any) -> dict[str, Any]:
    """Return who sends the request and from where, for the audit trail: actor, address, URL and method."""
    return {
        "actor": actor_of(getattr(request, "user", None)),
        "address": remote_address(request),
        "url": request.path,
        "method": request.method,
    }


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
