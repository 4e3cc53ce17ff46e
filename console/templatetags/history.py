from typing import Any

from django import template

register = template.Library()


@register.simple_tag(takes_context=True)
def changes(context: dict[str, Any]) -> list[Any]:
    """Return the changes (console.history.Change) of the page's object that the user may see."""
    from console.history import changes_of  # the theme loads this library before the admin's classes exist

    return changes_of(context["object"], context["request"].user)
