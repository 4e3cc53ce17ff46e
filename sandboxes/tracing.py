"""Reads from gVisor's log which system calls a guest made, and which its filter refused.

gVisor writes its log into a named pipe, and the reader extracts the names of the calls on the fly. The log is not
stored: it contains paths and arguments of the program, and it can grow by 20 MB a second.

A program can inject lines into its trace, as a file name for example. That gains it nothing beyond the calls that it
may make anyway: it can add names and cannot remove any.
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
# A call has at most six arguments, and a path at most 4096 bytes.
LONGEST_LINE = 1 << 16
# Time to drain the pipe after the sandbox has ended.
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
    """The trace is incomplete: the absence of a call in it proves nothing."""


@dataclass
class Trace:
    """How often each system call, by name, was made or was refused by the filter. A refused call was not made."""

    called: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    order: list[str] = field(default_factory=list)  # refused calls, in the order of their first refusal
    log_bytes: int = 0
    complete: bool = False

    def take(self, lines: bytes) -> None:
        if DROPPED in lines:
            raise TraceError("gVisor dropped lines of its log")
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
    """Return the name of a logged call. gVisor logs calls that it does not know by number."""
    unknown = UNKNOWN.fullmatch(logged)
    return NAMES.get(int(unknown[1]), logged) if unknown else logged


class Reader:
    """Reads the pipe at `path`, in a thread, until its writer is gone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._trace = Trace()
        self._fault = ""
        self._over = threading.Event()
        # Open the pipe now and keep it open: without a reader gVisor would block forever.
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def result(self) -> Trace:
        """Return the trace; call it after the sandbox has ended. Raises TraceError."""
        self._end()
        if self._fault:
            raise TraceError(self._fault)
        if not (self._trace.complete and self._trace.called):
            raise TraceError(
                f"gVisor wrote no trace: is {settings.SANDBOX_GVISOR_TRACE_RUNTIME} registered with Docker "
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
                # The pipe has no writer yet, or no longer. Do not use select, which would return at once.
                self._over.wait(LOOK_S)
        self._fault = "gVisor's log did not end"

    def _take(self, data: bytes) -> bytes:
        """Add all complete lines to the trace; return the rest, the beginning of a line."""
        lines, newline, rest = data.rpartition(b"\n")
        self._trace.log_bytes += len(lines)
        try:
            self._trace.take(lines + newline)
        except TraceError as e:
            self._fault = str(e)
        if len(rest) > LONGEST_LINE:
            self._fault = f"gVisor's log has a line longer than {LONGEST_LINE} bytes"
            return b""
        return rest


@contextmanager
def reading() -> Iterator[Reader]:
    """Make a pipe for one sandbox, yield its reader, and remove the pipe. Raises EngineError."""
    folder = settings.SANDBOX_TRACE_DIR
    path = folder / uuid.uuid4().hex
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.mkfifo(path, 0o600)
    except OSError as e:
        raise TraceError(f"{folder}: {e.strerror}; `make setup` creates this folder") from e
    try:
        reader = Reader(path)
        try:
            yield reader
        finally:
            reader.close()
    finally:
        path.unlink(missing_ok=True)


def sweep() -> None:
    """Remove what dead workers left: pipes, and files that gVisor creates where its pipe is already gone."""
    for path in settings.SANDBOX_TRACE_DIR.glob("*"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - ABANDONED_S:
                path.unlink()
