"""Carry connections from ports of 127.0.0.1 to the forwarder's Unix sockets: installers know proxies by port only."""

import contextlib
import os
import socket
import threading
import time

DOOR = "/run/door"
PATIENCE_S = 30


def carry(tool):
    """Return the port that leads to the forwarder's socket for this tool."""
    path = f"{DOOR}/{tool}"
    deadline = time.monotonic() + PATIENCE_S
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            raise SystemExit("ERROR: the forwarder to the mirrors did not start")
        time.sleep(0.05)
    server = socket.create_server(("127.0.0.1", 0), backlog=128)
    threading.Thread(target=_accept, args=(server, path), daemon=True).start()
    return server.getsockname()[1]


def _accept(server, path):
    while True:
        here, _ = server.accept()
        there = socket.socket(socket.AF_UNIX)
        try:
            there.connect(path)
        except OSError:
            here.close()
            continue
        for ends in ((here, there), (there, here)):
            threading.Thread(target=_copy, args=ends, daemon=True).start()


def _copy(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    # The other direction may still be open: the last one closes the socket.
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
