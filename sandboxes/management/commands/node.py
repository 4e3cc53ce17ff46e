import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from runtimes.models import Runtime
from sandboxes import nodes
from sandboxes.engine import EngineError, ImageMissing
from sandboxes.engines import get_engine
from sandboxes.models import Node

# Exit statuses of `check`, which scripts/setup/hosts tells apart.
IMAGES_MISSING, NAME_TAKEN = 3, 4


class Command(BaseCommand):
    help = (
        "List the nodes; let one take no more work (drain), take work again (return), or forget one that is gone "
        "(remove). `check` says whether this node may start: status 4 if another host has its name, 3 if images of "
        "enabled runtimes are missing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("act", choices=["list", "drain", "return", "remove", "check"])
        parser.add_argument("name", nargs="?", default=settings.SANDBOX_NODE, help="a node; by default this one")
        parser.add_argument("--running", action="store_true", help="check: this host's own keeper or worker runs")

    def handle(self, **options: Any) -> None:
        act, name = options["act"], options["name"]
        try:
            match act:
                case "list":
                    self._list()
                case "check":
                    self._check(options["running"])
                case "drain":
                    changed = nodes.drain(name)
                    self.stdout.write(f"{name} {'takes' if changed else 'already takes'} no more work.")
                    if not nodes.serving():
                        self.stdout.write("No other node runs programs: executions wait in the queue.")
                case "return":
                    changed = nodes.take_back(name)
                    self.stdout.write(f"{name} {'takes work again' if changed else 'was not being drained'}.")
                case "remove":
                    nodes.remove(name)
                    self.stdout.write(f"{name} is removed.")
        except (nodes.UnknownNode, nodes.StillAlive) as e:
            raise CommandError(str(e)) from e

    def _list(self) -> None:
        for row in Node.objects.order_by("name"):
            state = "alive" if nodes.is_alive(row.name) else "gone"
            age = (timezone.now() - row.seen_at).total_seconds()
            words = [state, *(["draining"] * row.draining), f"seen {age:.0f} s ago", row.version, row.engine]
            self.stdout.write(f"{row.name}  {', '.join(word for word in [*words, row.gvisor_version] if word)}")

    def _check(self, running: bool) -> None:
        name = settings.SANDBOX_NODE
        if not running and nodes.is_alive(name):
            raise CommandError(
                f"A keeper or worker of node {name} is alive, and not on this host.", returncode=NAME_TAKEN
            )
        engine, missing = get_engine(), []
        for runtime in Runtime.objects.enabled().order_by("slug"):
            try:
                engine.image_id(runtime.image)
            except ImageMissing:
                missing.append(f"{runtime.slug}: {runtime.image}")
            except EngineError as e:
                raise CommandError(f"The engine does not answer: {e}") from e
        for line in missing:
            self.stdout.write(f"no image of {line}")
        if missing:
            sys.exit(IMAGES_MISSING)
        self.stdout.write("The images of all enabled runtimes are here.")
