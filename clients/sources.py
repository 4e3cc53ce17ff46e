"""Sources for facts about a client that the room of executions knows."""

from datetime import date, datetime
from typing import Any

from clients.models import Client
from sandbox_platform.kit.sources import Source

# Returns the number of queued and running executions of a client, or of callers without a token for None.
open_executions: Source[[Client | None], int] = Source("how many executions of a client are open")
# Returns the number of the client's queued and running inspections that run its programs.
open_inspections: Source[[Client], int] = Source("how many inspections of a client are open")
# Returns the same number as `open_executions` as an expression for a query of clients.
open_executions_of_outer: Source[[], Any] = Source("how many executions of each client are open")
# Returns the number of executions on each of the last days (UTC), zeros included. Arguments: client id, now, days.
runs_by_day: Source[[int, datetime, int], dict[date, int]] = Source("how many executions a client had each day")
# Returns what the client used in the last days, as HTML for its page. Argument: client.
usage_card: Source[[Client], Any] = Source("what a client used")
