"""Where a callback may go. Its URL is a caller's, and the request comes from inside this network: whoever chose it
must not reach anything with it that he could not reach himself.

The form of a URL is checked when it is handed in, the addresses of its name every time before it is used; the
request then goes to the very address that was checked (see sender), so a name that changes in between is no way
around.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LONGEST_URL = 2000
PORTS = {"http": 80, "https": 443}
# Well-known ports speak other protocols, some of which take an HTTP request for a command; so do these.
FIRST_FREE_PORT = 1024
REFUSED_PORTS = {2375, 2376, 2379, 3306, 5432, 6000, 6379, 6667, 9200, 10080, 11211, 27017}
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
# Global by number, but relays to an IPv4 address inside them, or nobody's.
_REFUSED: list[Network] = [
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",
        "192.88.99.0/24",  # 6to4's relays
        "2001::/23",  # Teredo and other special purposes
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
]


class Refused(ValueError):
    """This URL is not called; says why and what to do. Made to be shown to whoever chose it."""


@dataclass(frozen=True)
class Target:
    """A URL in its parts, read once: what was checked is what is called."""

    scheme: str
    host: str
    port: int
    path: str  # with the query

    @classmethod
    def parse(cls, url: str) -> "Target":
        if len(url) > LONGEST_URL:
            raise Refused(f"The URL is longer than {LONGEST_URL} characters.")
        # What urlsplit would drop in silence, and what others read differently, is no part of a URL.
        if not re.fullmatch(r"[!-~]+", url) or "\\" in url:
            raise Refused(
                "The URL may hold visible ASCII characters only, and no backslash: percent-encode the rest."
            )
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as e:
            raise Refused(f"This is not a URL: {e}.") from e
        if parts.scheme not in PORTS:
            raise Refused("The URL must begin with http:// or https://.")
        if "@" in parts.netloc:
            raise Refused("The URL may hold no user name or password: check the signature instead.")
        if "#" in url:
            raise Refused("The URL may hold no fragment: leave out # and what follows.")
        target = cls(
            parts.scheme,
            _host(parts.hostname or ""),
            PORTS[parts.scheme] if port is None else port,
            (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        )
        target._check_port()
        return target

    def _check_port(self) -> None:
        well_known = self.port < FIRST_FREE_PORT and self.port not in PORTS.values()
        if well_known or self.port in REFUSED_PORTS:
            raise Refused(f"Port {self.port} is not called: use 80, 443, or one from {FIRST_FREE_PORT} on.")


def _host(host: str) -> str:
    if ":" in host and literal(host):
        return host
    if not _HOST.fullmatch(host) or len(host) > 253:
        raise Refused("The URL names no host that could be called.")
    return host


def literal(host: str) -> Address | None:
    if "%" in host:
        return None
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def check_url(url: str) -> str:
    """The URL as it may be stored; Refused if it can be seen without asking DNS that it will not be called."""
    target = Target.parse(url)
    if (address := literal(target.host)) and not is_allowed(address):
        raise Refused(_not_public(target.host))
    return url


def resolve(target: Target) -> list[Address]:
    """Its addresses, every one of them allowed; Refused if one is not, OSError if DNS does not know."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except UnicodeError as e:
        raise Refused("The URL names no host that could be called.") from e
    return checked(target, (entry[4][0] for entry in found))


def checked(target: Target, found: Iterable[Any]) -> list[Address]:
    addresses = [ipaddress.ip_address(address) for address in dict.fromkeys(found)]
    # One that is not allowed makes the others suspect: this is how a name is made to point inside.
    if not addresses or not all(map(is_allowed, addresses)):
        raise Refused(_not_public(target.host))
    return addresses


def _not_public(host: str) -> str:
    return f"{host} is not a public address: an administrator can allow networks with SANDBOX_CALLBACK_NETWORKS."


def is_allowed(address: Address) -> bool:
    return is_public(address) or any(address in network for network in settings.SANDBOX_CALLBACK_NETWORKS)


def is_public(address: Address) -> bool:
    if not address.is_global or any(address in network for network in _REFUSED):
        return False
    if isinstance(address, ipaddress.IPv6Address):
        # Of all IPv6 only this part is handed out; what maps, translates or compares to IPv4 lies outside.
        return address in _GLOBAL_IPV6
    return not (address.is_multicast or address.is_reserved)
