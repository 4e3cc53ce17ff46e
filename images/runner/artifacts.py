"""Collects the files that a program left in its working folder and in ./artifacts.

The runner imports this only when there are such files, so that a sandbox's start does not pay for it.
"""

import binascii
import os
import stat

MAX_NAMES = 10_000
MAX_DROPPED = 100  # named in the answer
TOO_LARGE = "too large"
TOO_MANY = "too many files"
WRONG_TYPE = "file type not returned"
BAD_NAME = "name not allowed"
UNREADABLE = "not readable"


class Collection:
    """The files to return, from ./artifacts first. No other process of the sandbox may be running."""

    def __init__(self, workspace, job):
        self._workspace = workspace
        self._limits = job
        self._inputs = {file["path"]: file["base64"] for file in job.get("files") or ()}
        self._source = job["source_file"]
        self._taken = set()
        self.dropped = []

    def files(self):
        """Yield (name, content) of the regular files within the limits, by name."""
        left = self._limits["artifact_count"]
        for folder, name in self._candidates():
            if name in self._taken or name.startswith("."):
                continue
            try:
                info = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except OSError:
                continue
            if not stat.S_ISREG(info.st_mode) or not info.st_size:
                continue
            if reason := self._refusal(name, info.st_size) or (not left and TOO_MANY):
                self._drop(name, reason)
                continue
            content = read_regular(folder, name, self._limits["artifact_bytes"])
            if content is None:
                self._drop(name, UNREADABLE)
            else:
                self._taken.add(name)
                left -= 1
                yield name, content

    def _candidates(self):
        if (folder := open_folder(f"{self._workspace}/artifacts")) is not None:
            for name in names_in(folder):
                yield folder, name
        if (folder := open_folder(self._workspace)) is not None:
            for name in names_in(folder):
                if name != self._source and not self._is_untouched_input(folder, name):
                    yield folder, name

    def _is_untouched_input(self, folder, name):
        given = self._inputs.get(name)
        if given is None:
            return False
        content = binascii.a2b_base64(given)
        return read_regular(folder, name, len(content)) == content

    def _refusal(self, name, size):
        if not is_sound(name):
            return BAD_NAME
        suffixes = self._limits["artifact_suffixes"]
        if suffixes is not None and os.path.splitext(name)[1].lower() not in suffixes:
            return WRONG_TYPE
        return size > self._limits["artifact_bytes"] and TOO_LARGE

    def _drop(self, name, reason):
        if len(self.dropped) < MAX_DROPPED:
            self.dropped.append([name.encode("utf-8", "replace").decode(), reason])


def open_folder(path):
    """Return a descriptor of the folder, None if it is none: the program removed it, or made it unreadable."""
    try:
        # lstat first: gVisor follows a symbolic link in spite of O_NOFOLLOW when O_DIRECTORY is also set. No process
        # is left that could replace the folder by a link between the two calls.
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            return None
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None


def names_in(folder):
    return sorted(os.listdir(folder)[:MAX_NAMES])


def is_sound(name):
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return not ("\n" in name or "\\" in name or ".." in name)


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
