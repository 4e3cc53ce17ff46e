"""Serializer fields that accept exactly what the schema says: no coercion between types, no unknown fields."""

import math
from typing import Any, ClassVar

from django.core.validators import RegexValidator
from drf_spectacular.extensions import OpenApiSerializerExtension
from rest_framework import serializers
from rest_framework.exceptions import ValidationError


class Strict(serializers.Serializer):  # type: ignore[type-arg]
    # Keywords that the object's schema gets beside its properties.
    also: ClassVar[dict[str, Any]] = {"additionalProperties": False}

    def to_internal_value(self, data: Any) -> Any:
        if hasattr(data, "keys"):
            for name in data:
                if name not in self.fields:
                    raise ValidationError({str(name): ["Unknown field."]}, code="unknown")
        return super().to_internal_value(data)


class StrictSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    target_class = "sandbox_platform.kit.fields.Strict"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> Any:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return schema | self.target.also


class Text(serializers.CharField):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{"trim_whitespace": False} | options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return data


class Name(Text):
    """A text that matches `pattern`; `message` is the error for one that does not."""

    def __init__(self, pattern: str, message: str, **options: Any) -> None:
        super().__init__(validators=[RegexValidator(pattern, message)], **options)


class Whole(serializers.IntegerField):
    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, float) and data.is_integer():
            return int(data)  # JSON does not distinguish 1.0 from 1
        if type(data) is not int:
            self.fail("invalid")
        return data


class Number(serializers.FloatField):
    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        try:
            value = float(data)
        except OverflowError:  # an int of hundreds of digits
            self.fail("invalid")
        if not math.isfinite(value):
            self.fail("invalid")
        return value


class Flag(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=str(data)[:50])
        return data


def validated(form: type["serializers.Serializer[Any]"], data: Any) -> dict[str, Any]:
    serializer = form(data=data)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)
