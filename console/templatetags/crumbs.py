from typing import Any

from django import template

register = template.Library()


@register.filter
def without_repetitions(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """An app and its main table often have one name: then the table's link says it all."""
    names = [str(part["title"]).casefold() for part in parts]
    return [part for part, name, below in zip(parts, names, [*names[1:], None], strict=True) if name != below]
