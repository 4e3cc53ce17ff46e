"""Migrations run while the services of the version before still serve: they may add, and neither lock a large table
for long nor take away or narrow what that version uses (docs/upgrading.md, "Changes of the schema")."""

from importlib import import_module
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db.migrations.loader import MigrationLoader
from django_migration_linter import MigrationLinter

from sandbox_platform.kit.partitions import AddIndexToHistory

# Migrations that are not safe in this sense, and why that did no harm. A new one needs a better reason than these.
INITIAL = "makes the tables that it changes: no version before used them"
ACCEPTED = {
    ("builds", "0001_initial"): INITIAL,
    ("executions", "0001_initial"): INITIAL,
    (
        "audit",
        "0002_signed_seals",
    ): "only sealing writes these tables: the old keeper's INSERT fails for some seconds, "
    "rows wait in their queue, and the new keeper seals them",
    ("inspections", "0002_describe_runtimes"): "widens a column: the old version writes shorter values",
    (
        "audit",
        "0012_trail_indexes",
    ): "locks the tables of the trail: changes of the configuration wait, runs do not",
    (
        "audit",
        "0014_partitions",
    ): "defines functions: what locks is in their bodies, which a command and the keeper call",
    ("executions", "0005_short_id"): "an index of some seconds on a million rows; runs that end meanwhile wait",
}
# Warnings of the linter that mean a lock while the old version serves.
LOCKS = ("CREATE_INDEX", "CREATE_INDEX_EXCLUSIVE", "DROP_INDEX", "REINDEX")


# The last migration of the history before some installations partitioned it.
LAST_OF_ONE_TABLE = "0011_traceparent"


def is_ours(module: str) -> bool:
    path = Path(str(import_module(module).__file__))
    return path.is_relative_to(settings.BASE_DIR) and ".venv" not in path.parts


MIGRATIONS = {
    key: migration
    for key, migration in sorted(MigrationLoader(None).disk_migrations.items())
    if is_ours(migration.__module__)
}


@pytest.fixture(scope="module")
def linter(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> MigrationLinter:
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        return MigrationLinter(path=str(settings.BASE_DIR), no_cache=True, warnings_as_errors_tests=LOCKS)


def is_safe(linter: MigrationLinter, key: tuple[str, str]) -> bool:
    linter.reset_counters()
    linter.lint_migration(MIGRATIONS[key])
    return not linter.has_errors


@pytest.mark.parametrize("key", [key for key in MIGRATIONS if key not in ACCEPTED], ids="-".join)
def test_migration_is_safe_while_the_version_of_before_serves(
    transactional_db: None, linter: MigrationLinter, key: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert is_safe(linter, key), capsys.readouterr().out


@pytest.mark.parametrize("key", ACCEPTED, ids="-".join)
def test_exception_is_still_needed(transactional_db: None, linter: MigrationLinter, key: tuple[str, str]) -> None:
    assert not is_safe(linter, key)


def test_an_index_of_the_history_is_made_on_each_partition() -> None:
    """Postgres cannot make the index of a partitioned table concurrently, and the migration would fail there."""
    later = [
        migration
        for (app, name), migration in MIGRATIONS.items()
        if app == "executions" and name > LAST_OF_ONE_TABLE
    ]
    indexes = [
        each for migration in later for each in migration.operations if isinstance(each, AddIndexConcurrently)
    ]
    assert all(isinstance(each, AddIndexToHistory) for each in indexes if each.model_name == "execution")
