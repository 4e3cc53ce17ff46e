from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit import keys
from audit.models import SealKey


class Command(BaseCommand):
    help = "Print the fingerprints of the keys that sign seals, the first one first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--make", action="store_true", help="make the key of a new installation, in the keeper"
        )

    def handle(self, **options: Any) -> None:
        known = list(SealKey.objects.values_list("fingerprint", flat=True))
        if options["make"] and not known:
            try:
                known = [keys.prepare()]
            except keys.KeyUnusable as e:
                raise CommandError(str(e)) from e
        for fingerprint in known:
            self.stdout.write(fingerprint)
