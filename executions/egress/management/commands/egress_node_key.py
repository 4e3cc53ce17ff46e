from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from executions.egress.links import node_key


class Command(BaseCommand):
    help = (
        "Print the key by which the egress gateway knows a node, for SANDBOX_EGRESS_NODE_KEY. Needs no database."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "node", nargs="?", default=settings.SANDBOX_NODE, help="its SANDBOX_NODE; here: %(default)s"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.stdout.write(str(node_key(settings.SANDBOX_EGRESS_NODES_SECRET, options["node"])))
        except ValueError as e:
            raise CommandError(str(e)) from e
