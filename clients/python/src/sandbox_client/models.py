"""What the platform answers, as immutable objects. `raw` holds every field as the API sent it."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sandbox_client.artifacts import preformatted
from sandbox_client.errors import RunFailed

OPEN = frozenset({"queued", "running"})
KILLED_BY_TIMEOUT = 124
PLATFORM_FAILED = 125
CANNOT_RUN = 126


@dataclass(frozen=True)
class File:
    """A file that was sent with a program."""

    path: str
    size: int


@dataclass(frozen=True)
class Execution:
    """One run of one program. `status` and `outcome` tell how it ended; an empty text is what a list left out."""

    id: str
    status: str
    """`queued`, `running`, `succeeded`, `failed`, `timed_out`, `out_of_memory`, `output_limit`, `rejected`,
    `cancelled` or `platform_error`."""
    outcome: str
    """Why it has its final status, such as `nonzero_exit`; empty while it is open."""
    message: str
    """One sentence about the outcome, for people."""
    runtime: str
    exit_code: int | None
    signal: int | None
    stdout: str
    stderr: str
    result: Any
    """What `main()` returned, in mode `function`."""
    labels: Mapping[str, str]
    artifact_count: int
    files: tuple[File, ...]
    queued_at: datetime | None
    finished_at: datetime | None
    duration_ms: float | None
    peak_memory_bytes: int | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Execution:
        """Return the execution of the API's JSON."""
        return cls(
            id=raw["id"],
            status=raw.get("status", ""),
            outcome=raw.get("outcome", ""),
            message=raw.get("message", ""),
            runtime=raw.get("runtime", ""),
            exit_code=raw.get("exit_code"),
            signal=raw.get("signal"),
            stdout=raw.get("stdout", ""),
            stderr=raw.get("stderr", ""),
            result=raw.get("result"),
            labels=raw.get("labels", {}),
            artifact_count=raw.get("artifact_count", 0),
            files=tuple(File(it["path"], it["size"]) for it in raw.get("files", ())),
            queued_at=_time(raw.get("queued_at")),
            finished_at=_time(raw.get("finished_at")),
            duration_ms=raw.get("duration_ms"),
            peak_memory_bytes=raw.get("peak_memory_bytes"),
            raw=raw,
        )

    @property
    def ended(self) -> bool:
        """Whether it has its final status."""
        return self.status not in OPEN

    @property
    def ok(self) -> bool:
        """Whether the program succeeded."""
        return self.status == "succeeded"

    @property
    def exit_status(self) -> int:
        """The status that a shell would show: the program's own, 128 and its signal, 124 for a time limit, 125 if the
        platform failed, 126 for a run that was rejected, and 1 for every other failure without a status."""
        if self.ok:
            return self.exit_code or 0
        if self.status == "timed_out":
            return KILLED_BY_TIMEOUT
        if self.status == "platform_error":
            return PLATFORM_FAILED
        if self.status == "rejected":
            return CANNOT_RUN
        if self.signal:
            return 128 + self.signal
        return self.exit_code or 1

    def check(self) -> Execution:
        """Return the execution. Raises RunFailed if the program did not succeed."""
        if not self.ok:
            raise RunFailed(self)
        return self

    def _repr_html_(self) -> str:
        """Return the beginning of its output for a notebook; a stranger's text is escaped."""
        parts = [f"<p><b>{html.escape(self.status)}</b> {html.escape(self.message)}</p>"]
        for name, text in (("stdout", self.stdout), ("stderr", self.stderr)):
            if text:
                parts.append(f"<p>{name}</p>{preformatted(text)}")
        return "".join(parts)


@dataclass(frozen=True)
class Batch:
    """Executions that were submitted together, in the order of submission."""

    id: str
    finished: bool
    counts: Mapping[str, int]
    executions: tuple[Execution, ...]

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Batch:
        """Return the batch of the API's JSON."""
        executions = tuple(Execution.parse(it) for it in raw["executions"])
        return cls(raw["id"], raw["finished"], raw["counts"], executions)


@dataclass(frozen=True)
class Event:
    """One event of a run: new output, or a change of its status."""

    id: str
    """The position after it: `stream(…, after=event.id)` continues there."""
    kind: str
    """`stdout`, `stderr` or `status`."""
    text: str
    """The new output; empty for a status."""
    status: str
    """The new status; empty for output."""
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, id: str, kind: str, raw: Mapping[str, Any]) -> Event:
        """Return the event of the stream's JSON."""
        return cls(id, kind, raw.get("text", ""), raw.get("status", ""), raw)


@dataclass(frozen=True)
class Runtime:
    """A language that the platform runs."""

    slug: str
    name: str
    aliases: tuple[str, ...]
    enabled: bool
    source_file: str
    modes: tuple[str, ...]
    limits: Mapping[str, Any]
    packages: Any
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Runtime:
        """Return the runtime of the API's JSON."""
        names = tuple(raw["aliases"]), raw["enabled"], raw["source_file"], tuple(raw["modes"])
        return cls(raw["slug"], raw["name"], *names, raw["limits"], raw["packages"], raw)


@dataclass(frozen=True)
class Caller:
    """Who the token belongs to, and what is left of its quotas."""

    client: str | None
    role: str
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Caller:
        """Return the caller of the API's JSON."""
        return cls(raw["client"], raw["role"], raw)


def _time(text: str | None) -> datetime | None:
    # Python 3.10 does not read a Z.
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
