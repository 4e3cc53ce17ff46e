from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit import keys


class Command(BaseCommand):
    help = "Put a new key for seals in force, signed by the old one. Run it in the keeper, which has the key."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--lost",
            action="store_true",
            help="the old key is lost and cannot sign: verification then asks for the new key's fingerprint",
        )

    def handle(self, **options: Any) -> None:
        try:
            row = keys.replace_lost() if options["lost"] else keys.rotate()
        except keys.KeyUnusable as e:
            raise CommandError(str(e)) from e
        self.stdout.write(f"In force: {row.fingerprint}")
        if options["lost"]:
            self.stdout.write("Note it beside the first key's: verify_audit needs both, each with --key.")
