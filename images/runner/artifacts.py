"""Collects what a program left in ./artifacts.

The runner imports this only when the folder has entries, so that a sandbox's start does not pay for it.
"""

import os
import stat

MAX_NAMES = 10_000


def collect(path, limits):
    """Yield (name, content) of the regular files within the limits, sorted by name.

    No other process of the sandbox may be running.
    """
    try:
        # lstat first: gVisor follows a symbolic link in spite of O_NOFOLLOW when O_DIRECTORY is also set. No process
        # is left that could replace the folder by a link between the two calls.
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            return
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return  # the program removed it, or made it unreadable
    left = limits["artifact_count"]
    for name in sorted(os.listdir(folder)[:MAX_NAMES]):
        if left and is_wanted(name, limits["artifact_suffixes"]):
            content = read_regular(folder, name, limits["artifact_bytes"])
            if content:
                yield name, content
                left -= 1


def is_wanted(name, suffixes):
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    if name.startswith(".") or "\n" in name or "\\" in name or ".." in name:
        return False
    return suffixes is None or os.path.splitext(name)[1].lower() in suffixes


def read_regular(folder, name, limit):
    """Return the file's bytes, or None if it is not a regular file, is larger than `limit` bytes, or is unreadable."""
    try:
        # O_NONBLOCK: opening a FIFO must not block.
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return None
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_size > limit:
            return None
        return read_all(fd, info.st_size)
    except OSError:
        return None
    finally:
        os.close(fd)


def read_all(fd, size):
    parts = []
    while size and (part := os.read(fd, min(size, 1 << 20))):
        parts.append(part)
        size -= len(part)
    return None if size else b"".join(parts)
