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


# Sent by the worker that has taken an execution, before its program begins. Arguments: execution. A receiver that
# raises ends the execution as a platform error.
starting = Signal()
# Returns the executions whose output a retention policy has purged.
purged_output: Source[[list[UUID]], set[UUID]] = Source("whose output was purged")
# What the newest trace says about the system calls that were refused to an execution; None without a trace.
refused_calls: Source[[Execution], RefusedCalls | None] = Source("which system calls were refused")
# Sentences about what keeps the platform from running programs as it should.
readiness_problems: Sources[[], list[str]] = Sources()
# Return additional template context for an execution's page.
detail_cards: Sources[[HttpRequest, Execution], dict[str, Any]] = Sources()
