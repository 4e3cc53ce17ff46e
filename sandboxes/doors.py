"""Doors: the one way out of a sandbox with egress, a Unix socket in a folder of the host that only it can see.

The folders and sockets are made by the gateway, which listens behind them; here is how the keeper and the workers
ask for one.
"""

import hashlib
import json
import socket
from pathlib import Path
from typing import Any

from django.conf import settings

from sandboxes.engine import EngineError

PATIENCE_S = 10
# The socket in the folder: images/runner/carrier.py knows it too.
SOCKET = "door"
CONTROL = "control"
DARK = "dark"


def root() -> Path:
    """This node's folder. A digest: a socket's path ends at 107 bytes, and a node's name may be long."""
    return Path(settings.SANDBOX_EGRESS_DIR) / hashlib.sha256(settings.SANDBOX_NODE.encode()).hexdigest()[:12]


def make(sandbox_id: int | None) -> str:
    """A door for this sandbox; without one, a folder with no door in it, so that what is probed or built has the
    flags of a run. Raises EngineError."""
    return str(ask({"open": sandbox_id})["door"])


def ask(question: dict[str, Any], patience_s: float = PATIENCE_S) -> dict[str, Any]:
    """Raises EngineError."""
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
        raise EngineError(f"the egress service: {answer.get('error', 'it gave up')}")
    return answer
