from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit import heads, keys, sealing


class Command(BaseCommand):
    help = "Seal all final rows now, in the keeper, which has the key. The keepers do it every hour."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--after-restore",
            action="store_true",
            help="state that a restored backup has replaced the last seals, and go on from what it holds",
        )

    def handle(self, **options: Any) -> None:
        try:
            seals = sealing.seal(after_restore=options["after_restore"])
        except (keys.KeyUnusable, keys.HistoryReplaced) as e:
            raise CommandError(f"Nothing is sealed: {e}") from e
        for seal in seals:
            self.stdout.write(f"{seal.head} {seal.count} rows")
        heads.send_due()
