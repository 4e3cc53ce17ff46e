import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from sandboxes import cgroup
from sandboxes.direct import trial
from sandboxes.direct.engine import DirectEngine
from sandboxes.engine import EngineError


class Command(BaseCommand):
    help = (
        "Start and remove a sandbox with the direct engine, whichever engine is set. Prints one line: what was tried, "
        "or what does not work, with status 1. Needs no database."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("image", help="an image that the source of images has, with /bin/sh")

    def handle(self, **options: Any) -> None:
        try:
            trial.check_tools()
            trial.check_cgroups()
            engine = DirectEngine()
            trial.try_sandbox(engine, options["image"])
        except (EngineError, trial.NotUsable, OSError) as e:
            self.stdout.write(" ".join(str(e).split())[:300])
            sys.exit(1)
        self.stdout.write(
            f"a trial sandbox ran and kept its limits (gVisor {engine.version()}, cgroup v{cgroup.version()})"
        )
