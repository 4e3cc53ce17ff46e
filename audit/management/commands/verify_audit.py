import re
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.models import Seal
from audit.verification import verify

HEAD = re.compile(r"(\d{1,18}):([0-9a-fA-F]{64})")


class Command(BaseCommand):
    help = "Verify the history against its seals and report every mismatch. Exits with status 1 if there is one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--head",
            metavar="NUMBER:HASH",
            help="a seal noted outside the database: also detects that the last seals were deleted",
        )

    def handle(self, **options: Any) -> None:
        found = 0
        for finding in verify(head=_parse_head(options["head"])):
            found += 1
            self.stdout.write(self.style.ERROR(str(finding)))
        if found:
            self.stdout.write(f"{found} findings.")
            sys.exit(1)
        last = Seal.objects.order_by("-sequence").first()
        self.stdout.write(
            f"All rows match their seals. Last: {last.sequence}:{last.hash}" if last else "No seals yet."
        )


def _parse_head(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    if not (match := HEAD.fullmatch(text)):
        raise CommandError("--head: expected NUMBER:HASH, as `manage.py seal` prints it.")
    return int(match[1]), match[2]
