"""Frames on the runner's stdin and stdout, and reading from pipes. See docs/runner-protocol.md."""

import os

CHUNK = 65536


class HostGone(Exception):
    """The platform closed the runner's stdin: nobody waits for the answer."""


def send(kind, payload):
    write_all(1, kind + len(payload).to_bytes(4, "big") + payload)


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_exactly(fd, size):
    parts = []
    while size:
        part = os.read(fd, min(size, 1 << 20))
        if not part:
            raise HostGone
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_available(fd):
    """Read up to CHUNK bytes from a non-blocking descriptor; return None if it holds none, b"" at its end."""
    try:
        return os.read(fd, CHUNK)
    except BlockingIOError:
        return None


def read_frame():
    header = read_exactly(0, 5)
    return header[:1], read_exactly(0, int.from_bytes(header[1:], "big"))
