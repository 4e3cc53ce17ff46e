"""Nodes: what a node's own keeper records of it, and whether people let it take work."""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from sandbox_platform.kit import acts, liveness
from sandbox_platform.kit.acts import Kind
from sandbox_platform.kit.notify import POOL, notify
from sandboxes.engine import Engine, EngineError
from sandboxes.models import Node, Sandbox

EVERY = timedelta(minutes=1)
# A node that has been silent for this long was taken away.
FORGOTTEN = timedelta(days=7)
# One that has stopped by itself is back soon, or was one pod of several with names of their own.
STOPPED_FORGOTTEN = timedelta(hours=1)
# A node without a keeper and a worker is dead after this time: a restart of the stack takes less.
DEAD_AFTER = timedelta(minutes=3)


class UnknownNode(Exception):
    """There is no node of this name. The message names those that there are."""

    def __init__(self, name: str) -> None:
        known = ", ".join(Node.objects.order_by("name").values_list("name", flat=True)) or "none"
        super().__init__(f"There is no node {name}. Nodes: {known}.")


class StillAlive(Exception):
    """A node with a keeper or a worker is not removed: it would record itself again."""


def record(engine: Engine) -> None:
    """Write this node's row, and remove those of nodes that were taken away, unless they are being drained.

    Times are Postgres's: the clocks of two nodes may differ.
    """
    try:
        version = engine.version()
    except EngineError:
        version = ""
    usages = [shutil.disk_usage(path) for path in _folders()]
    fullest = min(usages, key=lambda usage: usage.free)
    Node.objects.update_or_create(
        name=settings.SANDBOX_NODE,
        defaults={
            "seen_at": Now(),
            "disk_free_bytes": fullest.free,
            "disk_total_bytes": fullest.total,
            "gvisor_version": version[:100],
            "version": settings.VERSION,
            "engine": engine.name,
            "workers": settings.SANDBOX_WORKERS,
        },
    )
    # A drained node that is repaired for a month comes back drained.
    Node.objects.filter(seen_at__lt=Now() - FORGOTTEN, draining=False).delete()
    Node.objects.filter(seen_at__lt=Now() - STOPPED_FORGOTTEN, stopping=True).delete()


def is_draining(name: str = "") -> bool:
    """Return whether the node, or this one, is being drained."""
    return Node.objects.filter(name=name or settings.SANDBOX_NODE, draining=True).exists()


def drain(name: str, *, http: Any = None) -> bool:
    """Let the node take no more work; return False if it was being drained already. Raises UnknownNode.

    Its runs go on to their end. Its keeper removes the pool. `http`: the request of the person, for the trail.
    """
    # A node that is stopping stays drained when it is back: a person says so.
    return _changed(name, Kind.DRAINED, ~Q(draining=True, stopping=False), http, draining=True, stopping=False)


def take_back(name: str, *, http: Any = None) -> bool:
    """Let a drained node take work again; return False if it was not being drained. Raises UnknownNode."""
    return _changed(name, Kind.TAKEN_BACK, Q(draining=True), http, draining=False, stopping=False)


def stop() -> bool:
    """Drain this node until it is started again; return False if it was being drained. Raises UnknownNode."""
    return _changed(settings.SANDBOX_NODE, Kind.DRAINED, Q(draining=False), draining=True, stopping=True)


def started() -> bool:
    """End the drain of this node if its own stop began it, and no person; return whether that was so."""
    name = settings.SANDBOX_NODE
    if not Node.objects.filter(name=name, stopping=True).exists():
        return False
    return _changed(name, Kind.TAKEN_BACK, Q(stopping=True), draining=False, stopping=False)


def _changed(name: str, kind: Kind, due: Q, http: Any = None, **fields: bool) -> bool:
    with transaction.atomic():
        changed = Node.objects.filter(due, name=name).update(**fields)
        if changed:
            acts.done(kind, f"node {name}", name[:64], http=http)
        elif not Node.objects.filter(name=name).exists():
            raise UnknownNode(name)
        notify(POOL)
    return bool(changed)


def remove(name: str, *, http: Any = None) -> None:
    """Remove the row of a node that will not come back. Raises UnknownNode and StillAlive."""
    if is_alive(name):
        raise StillAlive(f"Node {name} is alive: stop its stack first (make stop there).")
    with transaction.atomic():
        if not Node.objects.filter(name=name).delete()[0]:
            raise UnknownNode(name)
        acts.done(Kind.REMOVED, f"node {name}", name[:64], http=http)


def is_alive(name: str) -> bool:
    """Return whether a keeper or a worker of the node holds its lock in Postgres."""
    return liveness.keeper_alive(name) or liveness.workers_alive(name) > 0


def serving() -> list[str]:
    """Return the nodes that run programs now: not being drained, with a keeper and a worker. This node may be one."""
    names = {settings.SANDBOX_NODE, *Node.objects.values_list("name", flat=True)}
    drained = set(Node.objects.filter(draining=True).values_list("name", flat=True))
    return sorted(name for name in names - drained if liveness.keeper_alive(name) and liveness.workers_alive(name))


def dead() -> list[str]:
    """Return the other nodes that have rows in the database, and neither a process nor recently a sign of life.

    None after a restart of Postgres, which ends every session: those who live take some seconds to be back.
    """
    since = Now() - DEAD_AFTER
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_postmaster_start_time() > now() - make_interval(secs => %s)", [DEAD_AFTER.total_seconds()]
        )
        if cursor.fetchone()[0]:
            return []
    # A sandbox's time is its node's. One of the future says that this clock was ahead, not that the node lives.
    started = Sandbox.objects.filter(created_at__gt=since, created_at__lte=Now())
    recent = {
        settings.SANDBOX_NODE,
        *Node.objects.filter(seen_at__gt=since).values_list("name", flat=True),
        *started.values_list("node", flat=True),
    }
    named = {*Node.objects.values_list("name", flat=True), *Sandbox.objects.values_list("node", flat=True)}
    return sorted(name for name in named - recent if not is_alive(name))


def _folders() -> list[Path]:
    # A container's own root lies on the file system of Docker's data, where the stack's volumes are, too.
    folders = [Path("/"), Path("/var/lib/docker"), settings.SANDBOX_IMAGE_DIR]
    return [folder for folder in folders if folder.exists()]
