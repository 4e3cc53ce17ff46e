"""Client of the gateway's control socket, which gives keeper and workers doors for their sandboxes.

A door is the only way out of a sandbox with egress: a Unix socket in a folder of the host that only this sandbox
mounts. The gateway creates the folders and sockets and listens on them.
"""

import hashlib
import json
import socket
import time
from pathlib import Path
from typing import Any

from django.conf import settings

from sandboxes.engine import EngineError

PATIENCE_S = 10
# A run waits this long for a gateway that is down: a restart takes seconds, the start-up of a busy machine more.
RESTART_S = 30
AGAIN_S = 0.5
# Name of the socket in a door's folder. images/runner/carrier.py repeats it.
SOCKET = "door"
CONTROL = "control"
DARK = "dark"


def root() -> Path:
    """Return this node's folder. Its name is a digest: a socket's path may have 107 bytes, and node names are long."""
    return Path(settings.SANDBOX_EGRESS_DIR) / hashlib.sha256(settings.SANDBOX_NODE.encode()).hexdigest()[:12]


def make(sandbox_id: int | None, *, patience_s: float = 0) -> str:
    """Return the folder with a door for this sandbox.

    For None, return a folder without a door, so that sandboxes of probes and builds get the same flags as runs.
    `patience_s`: how long to ask again while the gateway is down. Raises EngineError.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            return str(ask({"open": sandbox_id})["door"])
        except EngineError:
            if time.monotonic() >= until:
                raise
            time.sleep(AGAIN_S)


def ask(question: dict[str, Any], patience_s: float = PATIENCE_S) -> dict[str, Any]:
    """Send a question to the gateway's control socket and return its answer. Raises EngineError."""
    try:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(patience_s)
            control.connect(str(root() / CONTROL))
            control.sendall(json.dumps(question).encode() + b"\n")
            with control.makefile("rb") as answers:
                answer: dict[str, Any] = json.loads(answers.readline() or b"{}")
    except (OSError, ValueError) as e:
        raise EngineError(f"the egress service does not answer: {e}") from e
    if "error" in answer or not answer:
        raise EngineError(f"the egress service failed: {answer.get('error', 'it closed the connection')}")
    return answer
