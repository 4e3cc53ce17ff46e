"""The doors of sandboxes with egress, and the control socket of the gateway that listens on them.

A door is the only way out of a sandbox with egress: a Unix socket in a folder of the host that only this sandbox
mounts. Keeper and workers make the folders, the gateway makes the sockets in them. The gateway runs as another user and
can replace none of the folders: a link in the place of one would mount another folder of the host into the sandbox.
"""

import contextlib
import hashlib
import json
import os
import shutil
import socket
import stat
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
# Besides the folders of doors, the only one that the gateway can write to.
GATEWAY = "gateway"
CONTROL = f"{GATEWAY}/control"
DARK = "dark"
# The gateway's group is that of SANDBOX_EGRESS_DIR (scripts/setup/docker.py sets it). What is made in a folder with the
# set-group-ID bit gets the folder's group and, if it is a folder, the bit.
ENTERED_BY_GROUP = stat.S_ISGID | 0o750
WRITTEN_BY_GROUP = 0o770
# The guest, which is in no group of the host, must reach the socket.
OPENED_BY_GUEST = 0o775


def root() -> Path:
    """Return this node's folder. Its name is a digest: a socket's path may have 107 bytes, and node names are long."""
    return Path(settings.SANDBOX_EGRESS_DIR) / hashlib.sha256(settings.SANDBOX_NODE.encode()).hexdigest()[:12]


def provide() -> None:
    """Make this node's folder, with one in it for the gateway, which waits for that. Raises OSError.

    Is called by the keeper. A folder that another version or another user made is made anew; its doors are lost.
    """
    top = Path(settings.SANDBOX_EGRESS_DIR)
    top.mkdir(mode=0o750, parents=True, exist_ok=True)
    # Only if it must be: who is not in the group loses the set-group-ID bit by a change of the mode.
    if stat.S_IMODE(top.stat().st_mode) != ENTERED_BY_GROUP:
        top.chmod(ENTERED_BY_GROUP)
    if os.path.lexists(root()) and not _is_current(root()):
        if root().is_symlink():
            root().unlink()
        else:
            shutil.rmtree(root())
    _folder(root(), 0o750)
    _folder(root() / DARK, 0o755)
    _folder(root() / GATEWAY, WRITTEN_BY_GROUP)


def make(sandbox_id: int | None, *, patience_s: float = 0) -> str:
    """Return the folder with a door for this sandbox.

    For None, return a folder without a door, so that sandboxes of probes and builds get the same flags as runs.
    `patience_s`: how long to ask again while the gateway is down. Raises EngineError.
    """
    if sandbox_id is None:
        return str(_safe(root() / DARK))
    until = time.monotonic() + patience_s
    while True:
        try:
            folder = _made(sandbox_id)
            ask({"open": sandbox_id})
            return str(folder)
        except EngineError:
            if time.monotonic() >= until:
                raise
            time.sleep(AGAIN_S)


def all_made() -> set[int]:
    """Return the ids of the sandboxes whose doors' folders are here."""
    try:
        return {int(name) for name in os.listdir(root()) if name.isdigit()}
    except OSError:
        return set()


def remove(sandbox_id: int) -> None:
    """Remove the folder of a sandbox that is gone. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(root() / str(sandbox_id))


def _made(sandbox_id: int) -> Path:
    folder = root() / str(sandbox_id)
    _safe(root())
    try:
        _folder(folder, OPENED_BY_GUEST)
    except OSError as e:
        raise EngineError(f"no door: {folder} cannot be made: {e.strerror}") from e
    return _safe(folder)


def _folder(path: Path, mode: int) -> None:
    """Make a folder in one that the gateway cannot write to, or complete one. Raises OSError."""
    if not os.path.lexists(path):
        path.mkdir(mode=0o750)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return
    if os.geteuid() == 0 and found.st_uid != (owner := path.parent.stat().st_uid):
        # Root with the direct engine only. With the other engine the same folders must be usable.
        os.chown(path, owner, -1)
    if found.st_mode & 0o777 != mode:
        path.chmod(mode)


def _is_current(folder: Path) -> bool:
    found, top = folder.lstat(), folder.parent.stat()
    return not _fault(folder) and found.st_gid == top.st_gid and bool(found.st_mode & stat.S_ISGID)


def _safe(folder: Path) -> Path:
    """Return the folder. Raises EngineError if it is none, or if somebody else could replace it."""
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise EngineError(f"no door: {folder} is not a folder")
        for path in (root(), Path(settings.SANDBOX_EGRESS_DIR)):
            if fault := _fault(path):
                raise EngineError(f"no door: {path} {fault}")
    except OSError as e:
        raise EngineError(f"no door: {folder}: {e.strerror}; the keeper makes the folders at its start") from e
    return folder


def _fault(folder: Path) -> str:
    """Return why what is in the folder could be replaced by others. Raises OSError."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return "is not a folder"
    if found.st_uid not in (0, os.geteuid(), Path(settings.SANDBOX_EGRESS_DIR).stat().st_uid):
        return f"belongs to user {found.st_uid}"
    return "can be written to by others" if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) else ""


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
