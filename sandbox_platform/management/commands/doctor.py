import json
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import Error

from sandbox_platform.doctor import Check, Status, run_all
from sandbox_platform.kit import acts
from sandbox_platform.kit.acts import Kind


class Command(BaseCommand):
    help = "Check everything that this installation depends on. Exits with status 1 if something is broken."
    # The doctor must start with broken settings too.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print a JSON list instead of lines")

    def handle(self, **options: Any) -> None:
        # A database that is away, or older than this version, is for the checks to report.
        with suppress(Error):
            acts.done(Kind.CHECKED, f"node {settings.SANDBOX_NODE} by the doctor")
        checks = []
        for check in run_all():
            checks.append(check)
            if not options["json"]:
                self.stdout.write(self._line(check))
                # A live check takes about a second: print each line as soon as it is known.
                self.stdout.flush()
        if options["json"]:
            self.stdout.write(json.dumps([asdict(check) for check in checks], indent=2))
        if any(check.status is Status.BROKEN for check in checks):
            sys.exit(1)

    def _line(self, check: Check) -> str:
        style = {
            Status.OK: self.style.SUCCESS,
            Status.WARNING: self.style.WARNING,
            Status.BROKEN: self.style.ERROR,
        }[check.status]
        fix = f"\n{'':27} → {check.fix}" if check.fix else ""
        return f"{style(f'{check.status:<8}')} {check.name:<18} {check.detail}{fix}"
