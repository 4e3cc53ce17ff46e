"""The nodes on the pool's page, and what an administrator may do with them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.contrib import messages
from django.http import HttpRequest
from django.utils import timezone

from executions.models import Execution, Status
from sandbox_platform.kit.units import format_bytes, format_ms
from sandboxes import nodes
from sandboxes.models import Node, Sandbox, SandboxState

MAY = "sandboxes.drain_node"
ACTS = ("drain_node", "return_node", "remove_node")


@dataclass(frozen=True)
class Question:
    """What a person is asked first."""

    question: str
    consequence: str
    answer: str


@dataclass(frozen=True)
class Row:
    """A node, in words. `style`: the class of its state. `acts`: what can be done with it: (action, words)."""

    node: Node
    state: str
    style: str
    seen: str
    disk: str
    running: int
    sandboxes: str
    acts: tuple[tuple[str, str], ...]


def rows(sandboxes: Iterable[Sandbox]) -> list[Row]:
    """Return the nodes, with counts of the given sandboxes, which are those of all nodes."""
    here = Counter((sandbox.node, sandbox.state) for sandbox in sandboxes)
    running = Counter(Execution.objects.filter(status=Status.RUNNING).values_list("node", flat=True))
    return [_row(node, running[node.name], here) for node in Node.objects.order_by("name")]


def _row(node: Node, running: int, here: Counter[tuple[str, str]]) -> Row:
    alive = nodes.is_alive(node.name)
    counts = {state: here[node.name, state.value] for state in SandboxState}
    left = running + sum(counts.values())
    if not alive:
        state, style = ("drained", "cancelled") if node.draining else ("gone", "broken")
    elif node.draining:
        state, style = ("draining", "pending") if left else ("drained", "cancelled")
    else:
        state, style = "up", "ok"
    free = node.disk_free_bytes
    return Row(
        node,
        state,
        style,
        format_ms(max(0, (timezone.now() - node.seen_at) // timedelta(seconds=1)) * 1000),
        "" if free is None else f"{format_bytes(free)} of {format_bytes(node.disk_total_bytes or 0)}",
        running,
        ", ".join(f"{number} {state.label.lower()}" for state, number in counts.items() if number) or "none",
        (
            ("return_node", "Take back") if node.draining else ("drain_node", "Drain …"),
            *(() if alive else (("remove_node", "Remove …"),)),
        ),
    )


def act(request: HttpRequest, what: str, confirmed: bool) -> Question | None:
    """Do what was asked for, and return None; or return what to ask first. The caller has checked MAY."""
    name = request.POST.get("node", "")
    if what != "return_node" and not confirmed and Node.objects.filter(name=name).exists():
        return _question(what, name)
    try:
        if what == "drain_node":
            nodes.drain(name, http=request)
            messages.success(request, f"Node {name} takes no more work. Its runs go on to their end.")
        elif what == "return_node":
            nodes.take_back(name, http=request)
            messages.success(request, f"Node {name} takes work again.")
        else:
            nodes.remove(name, http=request)
            messages.success(request, f"Node {name} is removed.")
    except (nodes.UnknownNode, nodes.StillAlive) as e:
        messages.error(request, str(e))
    return None


def _question(what: str, name: str) -> Question:
    if what == "remove_node":
        return Question(
            f"Remove the node {name}?",
            "It leaves this page and the alerts. The history keeps its name. If its stack starts again, it comes back.",
            "Remove",
        )
    others = [other for other in nodes.serving() if other != name]
    rest = (
        f"The other nodes take the work: {', '.join(others)}."
        if others
        else "No other node runs programs: until you take it back, executions wait, and are cancelled after "
        "SANDBOX_QUEUE_TIMEOUT."
    )
    return Question(
        f"Drain the node {name}?",
        f"It takes no new run, finishes its own, and removes its warm sandboxes. {rest}",
        "Drain",
    )
