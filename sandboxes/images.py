"""Asks the keepers for images' content ids: the web process has no access to Docker."""

import itertools
import json
import time
import uuid
from collections.abc import Iterator

from sandbox_platform.kit import liveness
from sandbox_platform.kit.errors import NotAvailable
from sandbox_platform.kit.notify import IMAGE_ASKED, Listener
from sandboxes.calls import Unreadable

PATIENCE_S = 5.0
# After one keeper answered, wait this long for other nodes: a node without the image may answer first.
OTHERS_S = 0.3


class NobodyAnswers(NotAvailable):
    """No keeper is alive, or Docker does not answer it."""

    def __init__(self) -> None:
        super().__init__(
            "No keeper answers what images there are.",
            remedy="Retry. If this persists, an administrator can run `make doctor`.",
        )


def image_id(reference: str) -> str:
    """Return the content id of a reference or an id; "" if no node has the image. Raises NobodyAnswers."""
    for found in _answers(reference, others_s=OTHERS_S):
        if found:
            return found
    return ""


def missing(reference: str) -> str:
    """Return why runs on some node would not get the image; "" if all nodes have it, or no keeper answers."""
    nodes = liveness.keepers_alive()
    try:
        having = nodes_with(reference, nodes)
    except NobodyAnswers:
        return ""
    if having >= nodes:
        return ""
    who = f"{nodes - having} of {nodes} nodes do not have" if having else "No node has"
    return f"{who} the image {reference}, so runs would fail."


def nodes_with(reference: str, nodes: int) -> int:
    """Return how many of `nodes` nodes have the image. Raises NobodyAnswers."""
    answers = itertools.islice(_answers(reference, others_s=PATIENCE_S), nodes)
    return sum(1 for found in answers if found)


def of_question(text: str) -> tuple[str, str]:
    """Return the reference and the channel for the answer, of what a keeper is asked. Raises Unreadable."""
    try:
        reference, channel = map(str, json.loads(text))
    except (ValueError, TypeError, RecursionError) as e:
        raise Unreadable from e
    return reference, channel


def _answers(reference: str, *, others_s: float) -> Iterator[str]:
    """Yield each keeper's answer, the image's content id or "". After the first, wait `others_s` for the others."""
    channel = f"image_told_{uuid.uuid4().hex}"
    answered = False
    with Listener(channel) as listener:
        # On the listener's connection: the caller may be in a transaction, whose notifications wait for its end.
        question = json.dumps([reference, channel])
        listener.connection.execute("SELECT pg_notify(%s, %s)", [IMAGE_ASKED, question])
        deadline = time.monotonic() + PATIENCE_S
        while (left := deadline - time.monotonic()) > 0:
            for answer in listener.wait(left):
                answered, deadline = True, min(deadline, time.monotonic() + others_s)
                yield answer.payload
    if not answered:
        raise NobodyAnswers
