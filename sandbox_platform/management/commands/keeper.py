import signal
from typing import Any

from django.core.management.base import BaseCommand

from sandbox_platform.keeper import keeper_of
from sandbox_platform.kit import garbage
from sandboxes.docker_engine import get_engine


class Command(BaseCommand):
    help = "Keep this node's pool of warm sandboxes: start, remove, put straight. Runs until it is told to stop."

    def handle(self, *args: Any, **options: Any) -> None:
        keeper = keeper_of(get_engine())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: keeper.stop())
        garbage.freeze()
        keeper.run()
