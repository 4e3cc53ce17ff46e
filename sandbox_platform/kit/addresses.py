"""Rules for the URLs of callbacks.

The caller chooses the URL and the platform sends the request from inside this network, so the URL must not reach
anything that the caller could not reach directly (server-side request forgery).

The syntax of a URL is checked when it is submitted. The addresses of its host are checked before each request, and the
request goes to the address that was checked (see sender): a DNS answer that changes in between has no effect.
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
# Services on well-known ports speak other protocols, and some take lines of an HTTP request as commands. The same
# holds for REFUSED_PORTS.
FIRST_FREE_PORT = 1024
REFUSED_PORTS = {2375, 2376, 2379, 3306, 5432, 6000, 6379, 6667, 9200, 10080, 11211, 27017}
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
# Counted as global by `ipaddress`, but they relay to an embedded IPv4 address or are not assigned.
_REFUSED: list[Network] = [
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "2001::/23",  # Teredo and other special purposes
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
]


class Refused(ValueError):
    """The platform does not call this URL. The message gives the reason and the remedy, and is shown to the caller."""


@dataclass(frozen=True)
class Target:
    """A URL in its parts. It is parsed once, so the request uses what was checked."""

    scheme: str
    host: str
    port: int
    path: str  # including the query

    @classmethod
    def parse(cls, url: str) -> "Target":
        if len(url) > LONGEST_URL:
            raise Refused(f"The URL is longer than {LONGEST_URL} characters.")
        # urlsplit silently drops some control characters, and parsers disagree on backslashes: refuse both.
        if not re.fullmatch(r"[!-~]+", url) or "\\" in url:
            raise Refused(
                "The URL may contain only visible ASCII characters and no backslash: percent-encode the rest."
            )
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as e:
            raise Refused(f"This is not a URL: {e}.") from e
        if parts.scheme not in PORTS:
            raise Refused("The URL must begin with http:// or https://.")
        if "@" in parts.netloc:
            raise Refused("The URL must not contain a user name or password: verify the signature instead.")
        if "#" in url:
            raise Refused("The URL must not contain a fragment: remove # and what follows.")
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
            raise Refused(f"Port {self.port} is not allowed: use 80, 443, or a port from {FIRST_FREE_PORT} on.")


def _host(host: str) -> str:
    if ":" in host and literal(host):
        return host
    if not _HOST.fullmatch(host) or len(host) > 253:
        raise Refused("The URL has no valid host name.")
    return host


def literal(host: str) -> Address | None:
    if "%" in host:
        return None
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def check_url(url: str) -> str:
    """Return `url` if it may be stored. Raises Refused for what can be detected without DNS."""
    target = Target.parse(url)
    if (address := literal(target.host)) and not is_allowed(address):
        raise Refused(_not_public(target.host))
    return url


def resolve(target: Target) -> list[Address]:
    """Return the target's addresses, all of them allowed.

    Raises Refused if any is not allowed, and OSError if DNS does not resolve the host.
    """
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except UnicodeError as e:
        raise Refused("The URL has no valid host name.") from e
    return checked(target, (entry[4][0] for entry in found))


def checked(target: Target, found: Iterable[Any]) -> list[Address]:
    addresses = [ipaddress.ip_address(address) for address in dict.fromkeys(found)]
    # One forbidden address condemns all: such a mixture is how a name is made to point inside (DNS rebinding).
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
        # The only assigned part of IPv6. Addresses that map or translate to IPv4 lie outside of it.
        return address in _GLOBAL_IPV6
    return not (address.is_multicast or address.is_reserved)


def without_values(url: str) -> str:
    """Return the URL as pages show it: values of its query may be secrets, names are not."""
    path, mark, query = url.partition("?")
    names = (part.partition("=") for part in query.split("&"))
    # A part without a name may be a secret itself.
    return path + mark + "&".join(f"{name}=…" if equals else "…" if name else "" for name, equals, _ in names)
