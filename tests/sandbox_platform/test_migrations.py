"""Migrations hold no live code: they must work when the code has moved on."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import call_command

from sandbox_platform.kit.migrations import NOT_IN_THE_DATABASE

ALLOWED = {"django", "pghistory", "pgtrigger", "uuid_utils", "datetime", "decimal", "pathlib", "uuid"}


def migrations() -> list[Path]:
    return sorted(path for path in settings.BASE_DIR.glob("*/**/migrations/0*.py") if ".venv" not in path.parts)


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).partition(".")[0]


def test_every_app_with_tables_has_a_migration() -> None:
    ours = {config.path for config in apps.get_app_configs() if ".venv" not in config.path}
    with_tables = {
        Path(model._meta.app_config.path) for model in apps.get_models() if model._meta.app_config.path in ours
    }
    assert {path.parent.parent for path in migrations()} == with_tables


@pytest.mark.parametrize("path", migrations(), ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_migration_imports_nothing_of_ours(path: Path) -> None:
    assert set(imported(path)) <= ALLOWED


@pytest.mark.parametrize("path", migrations(), ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_migration_holds_only_what_the_database_stores(path: Path) -> None:
    tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    options = {node.arg for node in tree if isinstance(node, ast.keyword)}
    assert not options & set(NOT_IN_THE_DATABASE)


def test_models_have_no_change_without_a_migration(db: None) -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
