"""Extension points for higher rooms: facts about executions, and parts of pages and answers."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.dispatch import Signal
from django.http import HttpRequest

from executions.models import Execution
from sandbox_platform.kit.sources import Source, Sources


@dataclass(frozen=True)
class RefusedCalls:
    """What the newest trace of an execution says."""

    state: str  # of the trace
    traced_at: datetime | None
    summary: str | None
    refused: list[dict[str, Any]] | None  # name and times of each call


@dataclass(frozen=True)
class Callback:
    status: str
    words: str  # the status, for people
    attempts: int
    status_code: int | None  # of the last answer
    error: str  # of the last attempt, or why there is none
    next_attempt_at: datetime | None
    finished_at: datetime | None


# Sent by the worker that has taken an execution, before its program begins. Arguments: execution. A receiver that
# raises ends the execution as a platform error.
starting = Signal()
# Returns the executions whose output a retention policy has purged.
purged_output: Source[[list[UUID]], set[UUID]] = Source("whose output was purged")
# Returns who cancelled an execution, "" if that is not known.
cancelled_by: Source[[UUID], str] = Source("who cancelled an execution")
# What the newest trace says about the system calls that were refused to an execution; None without a trace.
refused_calls: Source[[Execution], RefusedCalls | None] = Source("which system calls were refused")
# How far the callback of an execution is; None before the end. Asked only for executions with a callback URL.
callback_of: Source[[Execution], Callback | None] = Source("how far a callback is")
# Sentences about what keeps the platform from running programs as it should.
readiness_problems: Sources[[], list[str]] = Sources()
# Return additional template context for an execution's page.
detail_cards: Sources[[HttpRequest, Execution], dict[str, Any]] = Sources()
