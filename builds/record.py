"""The record of a running build: log, progress and sign of life, written to its row."""

import re
import time
from collections import deque

from django.conf import settings
from django.db.models import F, Func, PositiveIntegerField, TextField, Value
from django.db.models.functions import Concat

from builds.models import WORKING, RuntimeBuild
from executions.services import db_text

WRITE_EVERY_S = 0.5
MAX_LOG = 512 * 1024
LAST_LINES = 200
MAX_ERROR = 2000
# A mirror's address may contain a password.
PASSWORD = re.compile(r"(?<=://)[^\s/@]+@")
STEP = "== "
# Patterns of the installers' error messages, the most specific first.
ERROR_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"^ERROR: \w+ asked for \S+, which is none of its mirrors",
        r"^E: (Unable to locate package|Version .* was not found|Package .* has no installation candidate)",
        r"^ERROR: No matching distribution found",
        r"^npm (error|ERR!) (notarget|404) .*(No matching version|is not in)",
        r"^ERROR: Cannot install",
        r"^(ERROR|E|npm error|npm ERR!):? ",
    )
)


class BuildFailed(Exception):
    """The build failed. The message tells the requester what went wrong and what to do."""


class Cancelled(Exception):
    """The cancellation of the build was requested."""


class Lost(Exception):
    """The row says that the build has ended: the keeper took this worker for dead."""


class Record:
    def __init__(self, build: RuntimeBuild) -> None:
        self._pk = build.pk
        self._size = len(build.log)
        self._pending = ""
        self._progress = build.progress
        self._next = 0.0
        self._deadline = time.monotonic() + settings.SANDBOX_BUILD_TIMEOUT_MS / 1000
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._hidden: tuple[str, ...] = ()

    def hide(self, secrets: tuple[str, ...]) -> None:
        """Write *** in place of these secrets from now on."""
        self._hidden = secrets

    def step(self, name: str) -> None:
        self.line(f"{STEP}{name}")
        self.beat(now=True)

    def line(self, text: str) -> None:
        text = PASSWORD.sub("***@", text.rstrip())
        for secret in self._hidden:
            text = text.replace(secret, "***")
        text = db_text(text)
        self.last_lines.append(text)
        if text.startswith(STEP):
            self._progress = text.removeprefix(STEP)[:100]
        # The log keeps its beginning, so that offsets stay valid. `failure_reason` reads the end from last_lines.
        if self._size < MAX_LOG:
            self._pending += f"{text}\n" if self._size + len(text) < MAX_LOG else "(truncated)\n"
            self._size += len(text) + 1

    def beat(self, *, now: bool = False) -> None:
        """Write the pending lines, at most every WRITE_EVERY_S unless `now`.

        Raises Cancelled, Lost, and BuildFailed when the build exceeds its time limit.
        """
        if not now and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + WRITE_EVERY_S
        self._write()
        if time.monotonic() > self._deadline:
            seconds = settings.SANDBOX_BUILD_TIMEOUT_MS / 1000
            raise BuildFailed(f"The build reached its time limit of {seconds:g} s (SANDBOX_BUILD_TIMEOUT).")

    def _write(self) -> None:
        open_rows = RuntimeBuild.objects.filter(pk=self._pk, state__in=WORKING)
        written = open_rows.update(
            log=Concat(F("log"), Value(self._pending), output_field=TextField()),
            progress=self._progress,
            # The keeper sees by this session that the worker is alive. It changes when Postgres restarts.
            worker_backend=Func(function="pg_backend_pid", output_field=PositiveIntegerField()),
        )
        if not written:
            raise Lost
        self._pending = ""
        if open_rows.filter(cancel_requested_at__isnull=False).exists():
            raise Cancelled

    def failure_reason(self) -> str:
        """Return the installers' error lines from the last lines of output, or else the last five lines."""
        lines = list(self.last_lines)
        for pattern in ERROR_PATTERNS:
            if found := [line for line in lines if pattern.search(line)]:
                return "\n".join(dict.fromkeys(found))[:MAX_ERROR]
        return "\n".join(line for line in lines[-5:] if line)[-MAX_ERROR:]
