"""The lines of the log, for people or as JSON. Both leave out the text of exceptions: it may quote a program.

What a line may hold: ids, names from the configuration, states and numbers. Never code, input, output or a secret.
"""

import json
import logging
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from sandbox_platform.kit import request_ids, tracing
from sandbox_platform.kit.failures import without_text

LONGEST_MESSAGE = 10_000
# Facts that a call gives by `extra`.
EXTRA = (
    "execution_id", "sandbox_id", "client_id", "runtime", "status", "outcome", "method", "route", "duration_ms",
    "queue_ms", "code",
)  # fmt: skip
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Lines(logging.Formatter):
    """`time LEVEL logger message`, with the request's id where there is one."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__("{asctime} {levelname} {name} {message}", style="{")

    def format(self, record: logging.LogRecord) -> str:
        facts = _facts(record)
        text = super().format(record)
        if not facts:
            return text
        first, newline, rest = text.partition("\n")
        return " ".join([first, *(f"{name}={value}" for name, value in facts.items())]) + newline + rest

    def formatException(self, ei: ExcInfo) -> str:  # noqa: N802 -- logging's name
        return without_text(ei[1]).rstrip() if ei[1] else ""


class Json(logging.Formatter):
    """An object on one line: time (UTC), level, logger, service, node, message, ids."""

    def __init__(self, service: str = "", node: str = "", **_: Any) -> None:
        super().__init__()
        self._service, self._node = service, node

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "service": self._service,
            "node": self._node,
            "message": record.getMessage()[:LONGEST_MESSAGE],
            **_facts(record),
        }
        if record.exc_info and record.exc_info[1]:
            line["exception"] = without_text(record.exc_info[1])
        return json.dumps({name: value for name, value in line.items() if value not in ("", None)}, default=str)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    facts: dict[str, Any] = {"request_id": request_ids.current(), "trace_id": tracing.current_trace_id()}
    facts |= {name: getattr(record, name, None) for name in EXTRA}
    return {name: value for name, value in facts.items() if value not in ("", None)}


def formatter_of(declared: dict[str, Any]) -> logging.Formatter:
    """Return the formatter that a dictionary of logging's configuration declares."""
    values = {name: value for name, value in declared.items() if name != "()"}
    return declared["()"](**values)  # type: ignore[no-any-return]
