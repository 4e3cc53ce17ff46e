"""Empty the tables after a test whose transactions were committed.

Django's `flush` truncates every table, which makes new files for each of them, and then writes all content types and
permissions anew: half a second. Most tests leave rows in a few tables.
"""

from functools import cache

from django.db import connection, transaction
from django.test import TransactionTestCase

from console import roles

# What a migrated database has, and the roles of people that every test finds: conftest.django_db_setup.
KEPT = frozenset({"auth_group", "auth_group_permissions", "auth_permission", "django_content_type"})


def use() -> None:
    """Instead of `flush`, for all tests of this process."""
    TransactionTestCase._fixture_teardown = lambda self: empty()


def empty() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        # No triggers: history refuses to be deleted, and every row would become one of the trail.
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(_looking())
        for (table,) in cursor.fetchall():
            cursor.execute(f'DELETE FROM "{table}"')
        ours = [roles.ADMINISTRATOR, roles.OPERATOR, roles.AUDITOR]
        cursor.execute("DELETE FROM auth_group WHERE name <> ALL(%s)", [ours])
        cursor.execute("DELETE FROM auth_group_permissions WHERE group_id NOT IN (SELECT id FROM auth_group)")


@cache
def _looking() -> str:
    """The query for the names of the tables with rows."""
    tables = set(connection.introspection.django_table_names(only_existing=True, include_views=False)) - KEPT
    return " UNION ALL ".join(
        f"SELECT '{table}' WHERE EXISTS (SELECT FROM \"{table}\")" for table in sorted(tables)
    )
