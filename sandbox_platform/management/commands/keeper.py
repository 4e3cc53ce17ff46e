import logging
import signal
from typing import Any

from sandbox_platform.keeper import build_keeper
from sandbox_platform.kit import garbage
from sandbox_platform.kit.service import ServiceCommand
from sandboxes import doors
from sandboxes.engines import get_engine

logger = logging.getLogger(__name__)


class Command(ServiceCommand):
    help = "Maintain this node's pool of warm sandboxes and run the periodic jobs. Runs until it is signalled."

    def handle(self, *args: Any, **options: Any) -> None:
        keeper = build_keeper(get_engine())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: keeper.stop())
        try:
            doors.provide()
        except OSError as e:
            # Runs without egress need none.
            logger.error("no sandbox gets egress, for the doors' folders cannot be made: %s", e)
        garbage.freeze()
        keeper.run()
