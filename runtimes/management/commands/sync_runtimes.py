from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from runtimes.manifests import ManifestError, load_all, sync


class Command(BaseCommand):
    help = "Create the runtimes that images/*/runtime.toml describe. Existing runtimes are not changed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--reset",
            action="append",
            default=[],
            metavar="SLUG",
            help="reset this runtime to its manifest; may be repeated",
        )

        parser.add_argument("--folder", type=Path, help="folder with the runtimes' folders, instead of images/")

    def handle(self, *, reset: list[str], folder: Path | None = None, **options: Any) -> None:
        try:
            manifests = load_all(folder)
            if unknown := sorted(set(reset) - {manifest.slug for manifest in manifests}):
                raise CommandError(f"--reset: no manifest for {', '.join(unknown)}")
            lines = sync(manifests, reset=reset)
        except ManifestError as e:
            raise CommandError(str(e)) from e
        for line in lines or ["runtimes: nothing to do"]:
            self.stdout.write(line)
