"""Records that somebody is shown a secret, before it is shown. Without a record the secret stays hidden."""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from sandbox_platform.kit.callers import origin_of
from sandbox_platform.kit.sources import Source

ONCE_IN_S = 3600.0
REMEMBERED = 10_000


@dataclass(frozen=True)
class Disclosure:
    """`name`: which secret, whose. `context`: actor, address, URL and method; empty outside of a web request."""

    name: str
    object_id: str
    context: dict[str, Any]


record: Source[[Disclosure], None] = Source("where shown secrets are recorded")


@dataclass
class _Recent:
    """What this process has recorded in the last hour. Some secrets are part of pages that are read all the time."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    seen: OrderedDict[tuple[Any, ...], float] = field(default_factory=OrderedDict)

    def holds(self, key: tuple[Any, ...]) -> bool:
        with self.lock:
            at = self.seen.get(key)
            return at is not None and time.monotonic() - at < ONCE_IN_S

    def add(self, key: tuple[Any, ...]) -> None:
        with self.lock:
            self.seen[key] = time.monotonic()
            self.seen.move_to_end(key)
            while len(self.seen) > REMEMBERED:
                self.seen.popitem(last=False)


recent = _Recent()


def shown(name: str, object_id: object = "", *, http: Any = None, often: bool = False) -> None:
    """Record that the secret is shown to the user or client of the request (Django's, or that of the REST framework).

    `often`: record the first time in an hour only, for each reader, address and web process.
    """
    context = {} if http is None else origin_of(http)
    key = (name, str(object_id), context.get("actor"), context.get("address"))
    if often and recent.holds(key):
        return
    record(Disclosure(name, str(object_id), context))
    if often:
        recent.add(key)
