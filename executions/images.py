"""Asking a keeper what an image is: the web process has no Docker to ask."""

import json
import time
import uuid

from executions.notify import IMAGE_ASKED, Listener, notify

PATIENCE_S = 5.0
# After a keeper said no, another node's may still say yes.
OTHERS_S = 0.3


class NobodyAnswers(Exception):
    """No keeper is alive, or Docker does not answer it."""


def image_id(reference: str) -> str:
    """The content id of a reference or an id; "" if no node has it. Raises NobodyAnswers."""
    channel = f"image_told_{uuid.uuid4().hex}"
    answered = False
    with Listener(channel) as listener:
        notify(IMAGE_ASKED, json.dumps([reference, channel]))
        deadline = time.monotonic() + PATIENCE_S
        while (left := deadline - time.monotonic()) > 0:
            for answer in listener.wait(left):
                if answer.payload:
                    return answer.payload
                answered, deadline = True, min(deadline, time.monotonic() + OTHERS_S)
    if answered:
        return ""
    raise NobodyAnswers
