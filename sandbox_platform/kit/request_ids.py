"""The id by which one request is found in the logs of all services, in the answer and at its executions."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import uuid_utils.compat

HEADER = "X-Request-Id"
LONGEST = 64
# What proxies and libraries make: UUIDs, hexadecimal numbers, ULIDs. No blanks, quotes or slashes: it stands in logs,
# addresses and headers.
PATTERN = rf"[A-Za-z0-9._:=+-]{{1,{LONGEST}}}"
_WELL_FORMED = re.compile(PATTERN)
_current: ContextVar[str] = ContextVar("request_id", default="")


def current() -> str:
    """Return the id of the request that is being served, or whose execution runs; "" outside of both."""
    return _current.get()


def taken_or_new(given: str | None) -> str:
    """Return the caller's own id if it is well-formed, else a new one. New ones are in the order of time."""
    return given if given and _WELL_FORMED.fullmatch(given) else uuid_utils.compat.uuid7().hex


@contextmanager
def serving(request_id: str) -> Iterator[None]:
    token = _current.set(request_id)
    try:
        yield
    finally:
        _current.reset(token)
