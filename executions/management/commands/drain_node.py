from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from executions import stopping
from sandbox_platform.kit.env import parse_duration
from sandboxes.nodes import UnknownNode


class Command(BaseCommand):
    help = (
        "Before this node stops, as a pod does: it takes no more work, its runs end or, if no program has begun, are "
        "queued again, and its sandboxes are removed. It works again when it is back."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--wait", default="60s", help="how long to wait for runs: 60s, 5m")

    def handle(self, **options: Any) -> None:
        try:
            patience_s = parse_duration(options["wait"]) / 1000
        except ValueError as e:
            raise CommandError(f"--wait: {e}") from e
        try:
            left = stopping.stop(patience_s)
        except UnknownNode as e:
            # Its keeper has not begun: there is nothing to stop.
            self.stdout.write(str(e))
            return
        name = settings.SANDBOX_NODE
        self.stdout.write(f"{name} takes no more work. {left.summary()}")
