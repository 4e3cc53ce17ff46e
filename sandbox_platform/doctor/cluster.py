"""The nodes of the installation, as the doctor of one of them sees them."""

from django.conf import settings
from django.utils import timezone

from sandbox_platform.doctor.check import Check, ok, warning
from sandbox_platform.kit.liveness import keeper_alive, workers_alive
from sandboxes.models import Node
from sandboxes.nodes import is_alive


def nodes(name: str) -> Check:
    """Check that every node that is not being drained has its processes, and this node's version."""
    rows = list(Node.objects.order_by("name"))
    if found := {row.name: problem for row in rows if (problem := _problem(row))}:
        remedies = [remedy for row in rows if row.name in found and (remedy := _remedy(row))]
        fix = "; ".join([*dict.fromkeys(remedies), f"see docs/hosts.md; all nodes: {_list(rows)}"])
        return warning(name, "; ".join(f"{node}: {problem}" for node, problem in found.items()), fix)
    return ok(name, _list(rows) or f"{settings.SANDBOX_NODE}, which has not recorded itself yet")


def _problem(row: Node) -> str:
    if row.draining:
        return "" if row.name != settings.SANDBOX_NODE else "it is being drained and takes no work"
    missing = [
        word for word, alive in (("keeper", keeper_alive), ("worker", workers_alive)) if not alive(row.name)
    ]
    if missing:
        return f"no {' and no '.join(missing)}, last seen {row.seen_at:%Y-%m-%d %H:%M} UTC"
    if row.version and row.version != settings.VERSION:
        return f"version {row.version}, this node has {settings.VERSION}"
    return ""


def _remedy(row: Node) -> str:
    if row.draining:
        return f"to let it take work again: make return NODE={row.name}"
    if not is_alive(row.name):
        return f"if {row.name} will not come back: `manage.py node remove {row.name}`, or Remove on the page Pool"
    return ""


def _list(rows: list[Node]) -> str:
    return "; ".join(_words(row) for row in rows)


def _words(row: Node) -> str:
    age = (timezone.now() - row.seen_at).total_seconds()
    facts = [row.version, row.engine, row.gvisor_version, f"seen {age:.0f} s ago", *(["draining"] * row.draining)]
    return f"{row.name} ({', '.join(fact for fact in facts if fact)})"
