"""What a guest asked its kernel for, as gVisor tells it: the calls it made, and those that its filter refused.

gVisor writes its log into a named pipe, and what matters is taken out while it passes. Nothing of it is stored,
for paths and arguments of the program are in it, and a log can grow by 20 MB a second.

A program can write lines into its trace, as the name of a file for example. That tells no more than the calls it
may make anyway: it adds names and cannot take any away.
"""

import fcntl
import math
import os
import re
import select
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

from sandboxes.engine import EngineError
from seccomp_profiles.x86_64 import NAMES

CHUNK = 1 << 20
# A call has at most six arguments; a path has 4096 bytes.
LONGEST_LINE = 1 << 16
# What gVisor had written when its sandbox ended is in the pipe.
LAST_LINES_S = 5.0
LOOK_S = 0.05
PIPE_BYTES = 1 << 20
ABANDONED_S = 3600
HEADER = re.compile(rb"^[IDWE]\d{4} \S+ +\d+ config\.go:\d+\] Debug: true\. Strace: true", re.M)
DROPPED = b"*** Dropped"
ENTRY = re.compile(
    rb"^[IDWE]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ (?:"
    rb"strace\.go:\d+\] \[ *\d+: *\d+\] [^\n]{0,15}? E (?P<called>\w+)\("
    rb"|task_syscall\.go:\d+\] \[ *\d+: *\d+\] Syscall (?P<number>\d+): (?:denied|killed|traced) by seccomp$)",
    re.M,
)
UNKNOWN = re.compile(r"sys_(\d+)")


class TraceError(EngineError):
    """There is no trace to believe: nothing may be concluded from what is missing in it."""


@dataclass
class Trace:
    """Names of system calls and how often each was made, or refused by the filter. A refused one was not made."""

    called: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    order: list[str] = field(default_factory=list)  # of the refused, by the first time
    log_bytes: int = 0
    complete: bool = False

    def take(self, lines: bytes) -> None:
        if DROPPED in lines:
            raise TraceError("gVisor left lines out of its log")
        self.complete = self.complete or bool(HEADER.search(lines))
        for entry in ENTRY.finditer(lines):
            if called := entry["called"]:
                self.called[_name(called.decode())] += 1
            else:
                name = NAMES.get(int(entry["number"]), entry["number"].decode())
                if name not in self.refused:
                    self.order.append(name)
                self.refused[name] += 1


def _name(logged: str) -> str:
    """gVisor calls those it does not know by their number."""
    unknown = UNKNOWN.fullmatch(logged)
    return NAMES.get(int(unknown[1]), logged) if unknown else logged


class Reader:
    """Reads the pipe at `path` until its writer is gone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._trace = Trace()
        self._fault = ""
        self._over = threading.Event()
        # At once, and held: a gVisor that found no reader would wait for one for ever.
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def result(self) -> Trace:
        """After the sandbox has ended. Raises TraceError."""
        self._end()
        if self._fault:
            raise TraceError(self._fault)
        if not (self._trace.complete and self._trace.called):
            raise TraceError(
                f"gVisor told nothing: is {settings.SANDBOX_GVISOR_TRACE_RUNTIME} registered with Docker "
                "(`make setup`)?"
            )
        return self._trace

    def close(self) -> None:
        self._end()
        os.close(self._fd)

    def _end(self) -> None:
        self._over.set()
        self._thread.join()

    def _read(self) -> None:
        rest = b""
        give_up = math.inf
        while time.monotonic() < give_up:
            over = self._over.is_set()
            if over:
                give_up = min(give_up, time.monotonic() + LAST_LINES_S)
            try:
                data = os.read(self._fd, CHUNK)
            except BlockingIOError:
                select.select([self._fd], [], [], LOOK_S)
                continue
            if data:
                rest = self._take(rest + data)
            elif over:
                self._take(rest + b"\n")
                return
            else:
                # Nobody writes yet, or any more; select would answer at once.
                self._over.wait(LOOK_S)
        self._fault = "gVisor's log did not end"

    def _take(self, data: bytes) -> bytes:
        """What is left: the beginning of a line."""
        lines, newline, rest = data.rpartition(b"\n")
        self._trace.log_bytes += len(lines)
        try:
            self._trace.take(lines + newline)
        except TraceError as e:
            self._fault = str(e)
        if len(rest) > LONGEST_LINE:
            self._fault = "gVisor's log has a line without an end"
            return b""
        return rest


@contextmanager
def reading() -> Iterator[Reader]:
    """A pipe for one sandbox, gone afterwards. Raises EngineError."""
    folder = settings.SANDBOX_TRACE_DIR
    path = folder / uuid.uuid4().hex
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.mkfifo(path, 0o600)
    except OSError as e:
        raise TraceError(f"{folder}: {e.strerror}; `make setup` makes this folder") from e
    try:
        reader = Reader(path)
        try:
            yield reader
        finally:
            reader.close()
    finally:
        path.unlink(missing_ok=True)


def sweep() -> None:
    """What a worker that died left: pipes, or the file that gVisor makes where its pipe is gone already."""
    for path in settings.SANDBOX_TRACE_DIR.glob("*"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - ABANDONED_S:
                path.unlink()
