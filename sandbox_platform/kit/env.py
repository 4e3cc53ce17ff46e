"""Read environment variables strictly: an invalid value raises ImproperlyConfigured with the remedy."""

import ipaddress
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")

_DURATION = re.compile(r"(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+(?:\.\d+)?)s)?(?:(?P<ms>\d+)ms)?")
_MEMORY = re.compile(r"([1-9]\d*)([bkmg])")
_MEMORY_UNITS = {"b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def parse_duration(text: str) -> int:
    """Return the milliseconds of a duration like ``10s``, ``1m30s`` or ``250ms``. Raises ValueError."""
    match = _DURATION.fullmatch(text.strip())
    if not match or not any(match.groups()):
        raise ValueError(f"{text!r} is not a duration with a unit: write 10s, 1m30s or 500ms")
    hours, minutes, seconds, millis = (float(match[part] or 0) for part in ("h", "m", "s", "ms"))
    total = round(((hours * 60 + minutes) * 60 + seconds) * 1000 + millis)
    if total <= 0:
        raise ValueError(f"{text!r} must be greater than zero")
    return total


def parse_memory(text: str) -> int:
    """Return the bytes of a size like ``256m`` (units b, k, m and g, as in Docker). Raises ValueError."""
    match = _MEMORY.fullmatch(text.strip().lower())
    if not match:
        raise ValueError(f"{text!r} is not a memory size with a unit: write 256m or 1g")
    return int(match[1]) * _MEMORY_UNITS[match[2]]


def parse_bool(text: str) -> bool:
    if text.lower() in ("true", "1"):
        return True
    if text.lower() in ("false", "0"):
        return False
    raise ValueError(f"{text!r} is neither true nor false")


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(text: str) -> list[Network]:
    """Parse networks in CIDR notation, separated by commas. Raises ValueError."""
    return [_parse_network(part.strip()) for part in text.split(",")]


def _parse_network(text: str) -> Network:
    if "/" not in text:
        raise ValueError(f"{text!r} is not a network: write 10.1.0.0/16, or 10.1.2.3/32 for one address")
    try:
        return ipaddress.ip_network(text)
    except ValueError as e:
        raise ValueError(f"{e}: write 10.1.0.0/16, or 10.1.2.3/32 for one address") from e


def parse_hosts(raw: str) -> list[str]:
    """Parse a comma-separated list of hosts, each with or without a port. Raises ValueError."""
    hosts = [part.strip().lower() for part in raw.split(",") if part.strip()]
    for host in hosts:
        port = re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(?::(\d{1,5}))?", host)
        if not port or not 0 < int(port[2] or 443) < 65536:
            raise ValueError(f"{host!r} is no host: write mirror.example.com, or mirror.example.com:8080")
    return hosts


def _read(name: str, parse: Callable[[str], T], default: T) -> T:
    raw = os.environ.get(name, "")
    if not raw:
        return default
    try:
        return parse(raw)
    except ValueError as e:
        raise ImproperlyConfigured(f"{name}: {e}") from e


def envbool(name: str, default: bool) -> bool:
    return _read(name, parse_bool, default)


def envint(name: str, default: int, *, minimum: int = 0) -> int:
    value = _read(name, int, default)
    if value < minimum:
        raise ImproperlyConfigured(f"{name}: {value} is below {minimum}")
    return value


# Executions of one core that run at the same time, and what worker and keeper need of the memory.
WORKERS_PER_CORE, OWN_BYTES = 4, 512 << 20


def envworkers(name: str, default: int, *, cores: int, largest_bytes: int) -> int:
    """Return how many executions run at the same time: a number, or `auto` for as many as the machine has room for.

    SANDBOX_NODE_MEMORY has its memory in bytes if this process's container may not use all of it. `largest_bytes`:
    memory of the largest sandbox.
    """
    if os.environ.get(name) != "auto":
        return envint(name, default, minimum=1)
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    room = (envint("SANDBOX_NODE_MEMORY", physical) - OWN_BYTES) // largest_bytes
    return max(1, min(WORKERS_PER_CORE * cores, room))


def envchoice(name: str, default: str, choices: Sequence[str]) -> str:
    value = os.environ.get(name) or default
    if value not in choices:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}, not {value!r}.")
    return value


def envduration(name: str, default: str) -> int:
    """Return the variable's duration in milliseconds."""
    return _read(name, parse_duration, parse_duration(default))


def envmemory(name: str, default: str) -> int:
    """Return the variable's size in bytes."""
    return _read(name, parse_memory, parse_memory(default))


def envquota(name: str, default: str) -> int:
    """Return the variable's size in bytes; 0, for which the variable is `0`, stands for no quota."""
    return _read(name, lambda text: 0 if text.strip() == "0" else parse_memory(text), parse_memory(default))


def envnetworks(name: str) -> list[Network]:
    return _read(name, parse_networks, [])


def envhosts(name: str) -> list[str]:
    return _read(name, parse_hosts, [])


def envlist(name: str, default: str = "") -> list[str]:
    return [part.strip() for part in (os.environ.get(name) or default).split(",") if part.strip()]


def bound_host(address: str) -> str:
    """Return the address as a Host header names it; "" for one that stands for all addresses or is none."""
    try:
        parsed = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return ""
    if parsed.is_unspecified:
        return ""
    return f"[{parsed}]" if parsed.version == 6 else str(parsed)


def envsecret(name: str) -> str:
    """Return the content of the file named by ``<name>_FILE`` (Docker secrets), else the variable, else ""."""
    if path := os.environ.get(f"{name}_FILE"):
        try:
            return Path(path).read_text().strip()
        except OSError as e:
            raise ImproperlyConfigured(f"{name}_FILE: {e}") from e
    return os.environ.get(name, "")
