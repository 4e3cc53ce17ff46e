"""Answers of the API: one declaration produces both the values of an answer and its OpenAPI schema.

A Schema declares the fields of an answer, in order. The value of a field is the result of its `computed` function, else
the attribute that its `source` names (a dotted path, None if it meets None), else the attribute of the field's name.
A field that is itself a Schema is dumped by its own fields. All other values are left to the renderer, which formats
UUIDs and times. The docstrings of the classes are published as descriptions.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, ClassVar, TypeVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

ANY = {"type": ["object", "array", "string", "number", "boolean"], "description": "Any JSON value."}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}

Getter = Callable[[Any], Any]
Field = TypeVar("Field")


@extend_schema_field(ANY)
class AnyJson(serializers.JSONField):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_null": True} | options)


@extend_schema_field(TEXTS)
class Texts(serializers.JSONField):
    pass


class Names(serializers.ListField):
    child = serializers.CharField()


class Stored(serializers.Serializer):  # type: ignore[type-arg]
    # The shape of a JSON value that is returned as stored.
    pass


class Schema(serializers.Serializer):  # type: ignore[type-arg]
    getters: ClassVar[dict[str, Getter]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.getters = {name: _getter(name, field) for name, field in cls._declared_fields.items()}

    @classmethod
    def dump(cls, row: object = None, /, **given: Any) -> dict[str, Any]:
        """Return the answer about the row. `given`: finished values that the row does not hold.

        Raises TypeError for a given name that is not declared, AttributeError for a missing value.
        """
        if not given:
            return {name: get(row) for name, get in cls.getters.items()}
        if unknown := given.keys() - cls.getters.keys():
            raise TypeError(f"{cls.__name__} has no field {', '.join(sorted(unknown))}")
        return {name: given[name] if name in given else get(row) for name, get in cls.getters.items()}


def computed(field: Field, get: Getter) -> Field:
    """Attach to the field the function that computes its value from the row, and return the field."""
    field.computed = get  # type: ignore[attr-defined]
    return field


def _getter(name: str, field: Any) -> Getter:
    get = getattr(field, "computed", None) or _attribute(field.source or name)
    many = isinstance(field, serializers.ListSerializer)
    shape = field.child if many else field
    if not isinstance(shape, Schema):
        return get
    dump = shape.dump

    def nested(row: Any) -> Any:
        value = get(row)
        if value is None:
            return None
        return [dump(one) for one in value] if many else dump(value)

    return nested


def _attribute(path: str) -> Getter:
    first, _, rest = path.partition(".")
    get = attrgetter(first)
    if not rest:
        return get
    below = _attribute(rest)
    return lambda row: None if (value := get(row)) is None else below(value)
