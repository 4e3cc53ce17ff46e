"""Indexes of tables that some installations have partitioned, such as the history (docs/scaling.md)."""

from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState

PARTS = """
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = to_regclass(%s) ORDER BY c.relname
"""
LONGEST_NAME = 63


class AddIndexToHistory(AddIndexConcurrently):
    """Create an index while everything runs, also where the table is partitioned: there, on each partition first.

    Postgres cannot make the index of a partitioned table concurrently. The parent's then takes those that are there.
    """

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        self._ensure_not_in_transaction(schema_editor)
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        editor: Any = schema_editor  # Postgres' own, whose indexes may be concurrent
        with editor.connection.cursor() as cursor:
            cursor.execute(PARTS, [model._meta.db_table])
            parts = [name for (name,) in cursor.fetchall()]
        for number, part in enumerate(parts):
            statement = self.index.create_sql(model, editor, concurrently=True)
            statement.parts["table"] = editor.quote_name(part)
            ending = f"_{number}"
            statement.parts["name"] = editor.quote_name(self.index.name[: LONGEST_NAME - len(ending)] + ending)
            editor.execute(statement, params=None)
        editor.add_index(model, self.index, concurrently=not parts)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        self._ensure_not_in_transaction(schema_editor)
        model = from_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        editor: Any = schema_editor
        with editor.connection.cursor() as cursor:
            cursor.execute(PARTS, [model._meta.db_table])
            parted = cursor.fetchone() is not None
        editor.remove_index(model, self.index, concurrently=not parted)
