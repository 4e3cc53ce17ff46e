"""Migrations without live code: they contain only the properties of fields that the database stores.

Validators, help texts, labels and choices change with the code. A migration that imported them would break when the
code changes, and every change of wording would need a migration.
"""

from typing import Any

from django.core.management.commands import makemigrations
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import Field

NOT_IN_THE_DATABASE = ("choices", "help_text", "validators", "verbose_name")
LABELS = ("verbose_name", "verbose_name_plural")
STANDARD_LIBRARIES = ("builtins", "django", "datetime", "uuid", "uuid_utils")


class MigrationAutodetector(makemigrations.Command.autodetector):  # type: ignore[misc,valid-type]
    """Compares and writes fields without the options that only Python uses."""

    def __init__(self, from_state: ProjectState, to_state: ProjectState, *args: Any, **kwargs: Any) -> None:
        for state in (from_state, to_state):
            for model in state.models.values():
                _strip(model)
        super().__init__(from_state, to_state, *args, **kwargs)


def _strip(model: ModelState) -> None:
    for name in LABELS:
        model.options.pop(name, None)
    for name, field in model.fields.items():
        model.fields[name] = _stored(field)


def _stored(field: "Field[Any, Any]") -> "Field[Any, Any]":
    """Return a copy that has only what the database stores."""
    _, _, arguments, options = field.deconstruct()
    for left_out in NOT_IN_THE_DATABASE:
        options.pop(left_out, None)
    if callable(default := options.get("default")) and not _is_standard(default):
        options["default"] = type(default())  # for example `list` for our function that returns a list
    if elements := options.get("base_field"):
        options["base_field"] = _stored(elements)
    return type(field)(*arguments, **options)


def _is_standard(function: Any) -> bool:
    return str(getattr(function, "__module__", "")).partition(".")[0] in STANDARD_LIBRARIES
