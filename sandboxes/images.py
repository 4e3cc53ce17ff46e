"""Asking a keeper what an image is: the web process has no Docker to ask."""

import itertools
import json
import time
import uuid
from collections.abc import Iterator

from sandbox_platform.kit.errors import NotAvailable
from sandbox_platform.kit.notify import IMAGE_ASKED, Listener, notify

PATIENCE_S = 5.0
# After a keeper said no, another node's may still say yes.
OTHERS_S = 0.3


class NobodyAnswers(NotAvailable):
    """No keeper is alive, or Docker does not answer it."""

    def __init__(self) -> None:
        super().__init__(
            "No keeper answers what images there are.",
            remedy="Try again; an administrator can run `make doctor`.",
        )


def image_id(reference: str) -> str:
    """The content id of a reference or an id; "" if no node has it. Raises NobodyAnswers."""
    for found in _answers(reference, others_s=OTHERS_S):
        if found:
            return found
    return ""


def nodes_with(reference: str, nodes: int) -> int:
    """How many of so many nodes have it. Raises NobodyAnswers."""
    answers = itertools.islice(_answers(reference, others_s=PATIENCE_S), nodes)
    return sum(1 for found in answers if found)


def _answers(reference: str, *, others_s: float) -> Iterator[str]:
    """A keeper each: the image's content id, or "". After the first, another has `others_s` to be heard."""
    channel = f"image_told_{uuid.uuid4().hex}"
    answered = False
    with Listener(channel) as listener:
        notify(IMAGE_ASKED, json.dumps([reference, channel]))
        deadline = time.monotonic() + PATIENCE_S
        while (left := deadline - time.monotonic()) > 0:
            for answer in listener.wait(left):
                answered, deadline = True, min(deadline, time.monotonic() + others_s)
                yield answer.payload
    if not answered:
        raise NobodyAnswers
