"""Removes what a dead node left in the database. Runs in the keepers of the other nodes."""

import logging
from datetime import timedelta

from django.db.models.functions import Now

from executions.models import Execution
from sandboxes import nodes
from sandboxes.models import Sandbox, SandboxState, Wait

logger = logging.getLogger(__name__)

# Far longer than any run waits between two signs of life; see sandboxes.turns.
WAITS_KEPT = timedelta(hours=1)


def clear() -> int:
    """Delete the rows of sandboxes of dead nodes; return how many.

    The row of a claimed sandbox stays until its execution has ended: it is the mark that a program may have started. A
    node that was only cut off loses nothing by it: its keeper removes what has no row, and starts a pool of its own.
    """
    Wait.objects.filter(seen_at__lt=Now() - WAITS_KEPT).delete()
    removed = 0
    for name in nodes.dead():
        left = Sandbox.objects.filter(node=name)
        claimed = left.filter(state=SandboxState.CLAIMED)
        # Each state is a condition of its own DELETE: Postgres looks again at a row that a node, back from a cut,
        # claims at this moment.
        number = left.exclude(state=SandboxState.CLAIMED).delete()[0]
        number += claimed.exclude(execution_id__in=Execution.objects.open().values("pk")).delete()[0]
        if number:
            logger.warning("node %s is gone: %d of its sandboxes are forgotten", name, number)
        removed += number
    return removed
