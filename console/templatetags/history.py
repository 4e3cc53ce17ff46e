from typing import Any

from django import template

from console.history import Change, changes_of

register = template.Library()


@register.simple_tag(takes_context=True)
def changes(context: dict[str, Any]) -> list[Change]:
    return changes_of(context["object"], context["request"].user)
