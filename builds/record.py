"""What a build says of itself while it is under way, written where everybody can read it."""

import re
import time
from collections import deque

from django.conf import settings
from django.db.models import F, Func, PositiveIntegerField, TextField, Value
from django.db.models.functions import Concat

from builds.models import WORKING, RuntimeBuild
from executions.services import db_text

EVERY_S = 0.5
LONGEST_LOG = 512 * 1024
LAST_LINES = 200
LONGEST_ERROR = 2000
# A mirror's address may hold a password.
PASSWORD = re.compile(r"(?<=://)[^\s/@]+@")
STEP = "== "
# How the installers say what they could not do, the most telling first.
TELLING = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"^E: (Unable to locate package|Version .* was not found|Package .* has no installation candidate)",
        r"^ERROR: No matching distribution found",
        r"^npm (error|ERR!) (notarget|404) .*(No matching version|is not in)",
        r"^ERROR: Cannot install",
        r"^(ERROR|E|npm error|npm ERR!):? ",
    )
)


class BuildFailed(Exception):
    """For the person who asked for it: what went wrong, and what to do about it."""


class Cancelled(Exception):
    pass


class Lost(Exception):
    """The row says that this build is over: somebody thought we were dead."""


class Record:
    def __init__(self, build: RuntimeBuild) -> None:
        self._pk = build.pk
        self._size = len(build.log)
        self._pending = ""
        self._progress = build.progress
        self._next = 0.0
        self._deadline = time.monotonic() + settings.SANDBOX_BUILD_TIMEOUT_MS / 1000
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)

    def step(self, name: str) -> None:
        self.line(f"{STEP}{name}")
        self.beat(now=True)

    def line(self, text: str) -> None:
        text = db_text(PASSWORD.sub("***@", text.rstrip()))
        self.last_lines.append(text)
        if text.startswith(STEP):
            self._progress = text.removeprefix(STEP)[:100]
        # The beginning is kept, so that an offset means the same for ever; the end is what `why` looks at.
        if self._size < LONGEST_LOG:
            self._pending += f"{text}\n" if self._size + len(text) < LONGEST_LOG else "(the rest is cut)\n"
            self._size += len(text) + 1

    def beat(self, *, now: bool = False) -> None:
        """Writes what there is, now and then. Raises Cancelled, Lost, and BuildFailed when the time is up."""
        if not now and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + EVERY_S
        self._write()
        if time.monotonic() > self._deadline:
            seconds = settings.SANDBOX_BUILD_TIMEOUT_MS / 1000
            raise BuildFailed(
                f"Not finished after {seconds:g} s: SANDBOX_BUILD_TIMEOUT sets how long it may take."
            )

    def _write(self) -> None:
        open_rows = RuntimeBuild.objects.filter(pk=self._pk, state__in=WORKING)
        written = open_rows.update(
            log=Concat(F("log"), Value(self._pending), output_field=TextField()),
            progress=self._progress,
            # A restart of Postgres gives us another session, and ours is how the keeper knows that we live.
            worker_backend=Func(function="pg_backend_pid", output_field=PositiveIntegerField()),
        )
        if not written:
            raise Lost
        self._pending = ""
        if open_rows.filter(cancel_requested_at__isnull=False).exists():
            raise Cancelled

    def why(self) -> str:
        """What the installers' last words say of the failure."""
        lines = list(self.last_lines)
        for telling in TELLING:
            if found := [line for line in lines if telling.search(line)]:
                return "\n".join(dict.fromkeys(found))[:LONGEST_ERROR]
        return "\n".join(line for line in lines[-5:] if line)[-LONGEST_ERROR:]
