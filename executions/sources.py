"""Extension points for higher rooms: facts about executions, and parts of pages and answers."""

from typing import Any
from uuid import UUID

from django.dispatch import Signal
from django.http import HttpRequest

from executions.models import Execution
from sandbox_platform.kit.sources import Source, Sources

# Sent by the worker that has claimed an execution, before the program starts. Argument: execution. An exception of a
# receiver ends the execution as a platform error.
starting = Signal()
# Returns the executions whose output a retention policy has purged.
purged_output: Source[[list[UUID]], set[UUID]] = Source("whose output was purged")
# Returns the refused system calls of an execution from its newest trace; None without a trace.
refused_calls: Source[[Execution], dict[str, Any] | None] = Source("which system calls were refused")
# Return sentences about what keeps the platform from running programs properly.
readiness_problems: Sources[[], list[str]] = Sources()
# Return additional template context for an execution's page.
detail_cards: Sources[[HttpRequest, Execution], dict[str, Any]] = Sources()
