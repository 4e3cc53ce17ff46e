import re
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor

from sandbox_platform import privileges
from sandbox_platform.kit.services import Service

AGAIN_S = 2.0
# A privilege as GRANT takes it, perhaps of some columns only.
WORD = re.compile(r"(\w+)\s*(\([^)]*\))?")


class Command(BaseCommand):
    help = (
        "Wait until Postgres answers, its schema is what this version needs, and the role of this service may use it. "
        "Nothing ends the wait: whatever starts containers shows that one waits, and why."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--only-connect", action="store_true", help="wait for Postgres only, before migrations"
        )

    def handle(self, **options: Any) -> None:
        told = ""
        while reason := _cause_to_wait(options["only_connect"]):
            if reason != told:
                self.stdout.write(f"waiting: {reason}")
                self.stdout.flush()
                told = reason
            time.sleep(AGAIN_S)
        self.stdout.write("The database is ready.")


def _cause_to_wait(only_connect: bool) -> str:
    """Return why this service cannot start yet, or "" if it can."""
    try:
        connection.ensure_connection()
        return "" if only_connect else _not_applied() or next(_not_granted(), "")
    except Error as e:
        return str(e).strip().splitlines()[0]
    finally:
        connection.close()


def _not_applied() -> str:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return f"{len(missing)} migrations are not applied, the first is {missing[0][0]}" if missing else ""


def _not_granted() -> Iterator[str]:
    """Yield what the role of this service lacks: its grants are made after the migrations."""
    if not settings.SANDBOX_SERVICE:
        return
    with connection.cursor() as cursor:
        for table, words in privileges.grants(Service(settings.SANDBOX_SERVICE)):
            for privilege, columns in WORD.findall(words):
                function = "has_any_column_privilege" if columns else "has_table_privilege"
                cursor.execute(f"SELECT {function}(%s, %s)", [table, privilege])
                if not cursor.fetchone()[0]:
                    yield f"{settings.SANDBOX_SERVICE} may not {privilege} {table} yet"
