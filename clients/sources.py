"""Facts about a client that the rooms of executions know."""

from datetime import date, datetime
from typing import Any

from clients.models import Client
from sandbox_platform.kit.sources import Source

# How many executions of the client are queued or running. None: callers without a token.
open_executions: Source[[Client | None], int] = Source("how many executions of a client are open")
# The same as an expression, for a query of clients.
open_executions_of_outer: Source[[], Any] = Source("how many executions of each client are open")
# Executions on each of the last days (UTC), the quiet ones too. Arguments: the client's id, now, days.
runs_by_day: Source[[int, datetime, int], dict[date, int]] = Source("how many executions a client had each day")
