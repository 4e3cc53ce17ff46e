import re
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.keys import fingerprint
from audit.models import Seal, SealKey
from audit.verification import statements, verify

HEAD = re.compile(r"(\d{1,18}):([0-9a-fA-F]{64})")
FINGERPRINT = re.compile(r"[0-9a-fA-F]{64}")


class Command(BaseCommand):
    help = "Verify the history against its seals and report every mismatch. Exits with status 1 if there is one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--head",
            metavar="NUMBER:HASH",
            help="a seal noted outside the database: also detects that the last seals were deleted",
        )
        parser.add_argument(
            "--heads",
            metavar="FILE",
            help="heads that left the machine, as JSON lines; by default SANDBOX_HEADS_FILE, if it is here",
        )
        parser.add_argument(
            "--key",
            metavar="FILE_OR_FINGERPRINT",
            action="append",
            default=[],
            help="the first key, noted outside the database (by default SANDBOX_SEAL_FINGERPRINT); can be repeated",
        )

    def handle(self, **options: Any) -> None:
        known = [_parse_key(text) for text in options["key"] or settings.SANDBOX_SEAL_FINGERPRINT]
        found = 0
        for finding in verify(
            head=_parse_head(options["head"]), heads=_heads_file(options["heads"]), fingerprints=known
        ):
            found += 1
            self.stdout.write(self.style.ERROR(str(finding)))
        for statement in statements():
            self.stdout.write(statement)
        self._write_keys(known)
        if found:
            self.stdout.write(f"{found} findings.")
            sys.exit(1)
        last = Seal.objects.order_by("-sequence").first()
        self.stdout.write(f"All rows match their seals. Last: {last.head}" if last else "No seals yet.")

    def _write_keys(self, known: list[str]) -> None:
        keys = list(SealKey.objects.values_list("fingerprint", flat=True))
        if keys:
            advice = "" if known else " (not compared: note it elsewhere, and give it as --key)"
            self.stdout.write(f"First key: {keys[0]}{advice}")
        if len(keys) > 1:
            self.stdout.write(f"Key in force: {keys[-1]}")


def _parse_head(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    if not (match := HEAD.fullmatch(text)):
        raise CommandError("--head: expected NUMBER:HASH, as `manage.py seal` prints it.")
    return int(match[1]), match[2]


def _heads_file(text: str | None) -> Path | None:
    if text is None:
        default = settings.SANDBOX_HEADS_FILE
        return Path(default) if default and Path(default).exists() else None
    if not Path(text).is_file():
        raise CommandError(f"--heads: {text} is not a file.")
    return Path(text)


def _parse_key(text: str) -> str:
    """Return the fingerprint: as given, or the one in the file, or that of the public key in the file."""
    if FINGERPRINT.fullmatch(text):
        return text
    try:
        content = Path(text).read_bytes()
    except OSError as e:
        raise CommandError(f"--key: {text} is neither a fingerprint nor a file.") from e
    if match := FINGERPRINT.fullmatch(content.decode(errors="replace").strip()):
        return match[0]
    try:
        key = load_pem_public_key(content)
    except ValueError as e:
        raise CommandError(f"--key: {text} holds neither a fingerprint nor a public key.") from e
    if not isinstance(key, Ed25519PublicKey):
        raise CommandError(f"--key: {text} holds a key of another kind than Ed25519.")
    return fingerprint(key.public_bytes_raw())
