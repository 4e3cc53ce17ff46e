from typing import Any

from django import template

from console.navigation import TITLES

register = template.Library()


@register.filter
def crumbs(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The table and the row, named as the menu names them. In which app the code of a table is, is nothing to
    those who look for it; and what a row is called is not a word of ours to capitalise."""
    table, *rest = parts[1:] or parts
    name = str(table["title"])
    return [table | {"title": TITLES.get(name, name[:1].upper() + name[1:])}, *rest]
