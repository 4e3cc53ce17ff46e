from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from audit import heads
from audit.models import Seal
from sandbox_platform.kit import disclosures


class Command(BaseCommand):
    help = "Print the heads of all signed seals, as JSON lines, to be kept where nobody can change them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--webhook-secret",
            action="store_true",
            help="print the secret with which the receiver of SANDBOX_HEADS_WEBHOOK verifies signatures",
        )

    def handle(self, **options: Any) -> None:
        if options["webhook_secret"]:
            disclosures.shown("webhook secret of the heads")
            self.stdout.write(heads.webhook_secret())
            return
        for seal in Seal.objects.exclude(key="").order_by("sequence").iterator():
            self.stdout.write(heads.lines([seal]), ending="")
