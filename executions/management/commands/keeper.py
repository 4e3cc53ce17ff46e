import signal
from typing import Any

from django.core.management.base import BaseCommand

from executions.sandbox.docker_engine import get_engine
from executions.sandbox.keeper import Keeper
from sandbox_platform import garbage


class Command(BaseCommand):
    help = "Keep this node's pool of warm sandboxes: start, remove, put straight. Runs until it is told to stop."

    def handle(self, *args: Any, **options: Any) -> None:
        keeper = Keeper(get_engine())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: keeper.stop())
        garbage.freeze()
        keeper.run()
