from typing import Any

from django import template

from console.navigation import TITLES

register = template.Library()


@register.filter
def crumbs(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the breadcrumbs of table and row, without the app, which means nothing to users.

    The table has its title from the menu. The row's name is data and keeps its case. A page may give its row another
    one, `shown_name`.
    """
    table, *rest = parts[1:] or parts
    name = str(table["title"])
    return [table | {"title": TITLES.get(name, name[:1].upper() + name[1:])}, *map(_named, rest)]


def _named(part: dict[str, Any]) -> dict[str, Any]:
    return part | {"title": getattr(part["title"], "shown_name", part["title"])}
