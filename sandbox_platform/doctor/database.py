import time

from django.conf import settings
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

from sandbox_platform.doctor.check import Check, broken, ok, warning
from sandbox_platform.kit.units import format_bytes

# Deadlines and ages are computed from both clocks, this host's and Postgres's.
CLOCK_WARNING_S = 1
CLOCK_BROKEN_S = 30


def reachable(name: str) -> Check:
    host = settings.DATABASES["default"].get("HOST")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('server_version'), pg_database_size(current_database())")
            version, size = cursor.fetchone()
    except OperationalError as e:
        return broken(name, str(e).splitlines()[0], f"start Postgres on {host}, or correct DATABASE_URL")
    return ok(name, f"{version} on {host}, database size {format_bytes(size)}")


def migrated(name: str) -> Check:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        return broken(name, f"{len(plan)} not applied", "run `manage.py migrate` or `make restart`")
    return ok(name, "all applied")


def clock(name: str) -> Check:
    with connection.cursor() as cursor:
        asked = time.time()
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        answer = float(cursor.fetchone()[0])
        middle = (asked + time.time()) / 2
    difference = abs(answer - middle)
    detail = f"the clocks of this host and of Postgres differ by {difference:.3f} s"
    fix = "synchronize the clocks of both hosts (chrony, systemd-timesyncd)"
    if difference > CLOCK_BROKEN_S:
        return broken(name, detail, fix)
    return warning(name, detail, fix) if difference > CLOCK_WARNING_S else ok(name, detail)
