from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import ProgrammingError

from sandbox_platform import roles


class Command(BaseCommand):
    help = (
        "Make the services' roles in Postgres, and give each what it needs. Safe to run at every start. Passwords come "
        "from SANDBOX_DATABASE_WEB_PASSWORD and so on, or from files (…_PASSWORD_FILE)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--print", action="store_true", help="print the SQL for a database without roles, only"
        )
        parser.add_argument(
            "--unless-shared",
            action="store_true",
            help="do nothing if DATABASE_URL holds a password: then all services share its role",
        )

    def handle(self, **options: Any) -> None:
        if options["print"]:
            self.stdout.write(roles.as_script())
            return
        if options["unless_shared"] and settings.DATABASE_IS_SHARED:
            self.stdout.write("database roles: not used, because DATABASE_URL holds a password")
            return
        try:
            for line in roles.ensure():
                self.stdout.write(line)
        except (ProgrammingError, roles.RolesUnusable) as e:
            reason = str(e).splitlines()[0]
            raise CommandError(
                f"The roles of the services cannot be made: {reason}. The role of this command must own the tables and "
                "have CREATEROLE; or see docs/upgrading.md, Database roles."
            ) from e
