"""The permissions of a role as one table: a row for each kind of object, a column for each right."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib.auth.models import Permission
from django.db.models import Q, QuerySet
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from console import roles

# The rights that Django gives every table. The others, such as "cancel an execution", have a column together.
USUAL = ("view", "add", "change", "delete")


def offered(group: Any = None) -> QuerySet[Permission]:
    """Return the permissions that something in the console asks for, and those that the group has anyway."""
    ours = Q(content_type__app_label__in=roles.APPS)
    if group is not None and group.pk:
        ours |= Q(group=group)
    return Permission.objects.filter(ours).select_related("content_type").distinct()


def _object_of(permission: Permission) -> str:
    return permission.content_type.name


def _usual(permission: Permission) -> str:
    verb, _, rest = permission.codename.partition("_")
    return verb if verb in USUAL and rest == permission.content_type.model else ""


def table(permissions: Iterable[Permission], given: set[str], name: str = "") -> SafeString:
    """Return the table. `given`: keys of those that the role has; `name`: of the form's field, empty to show only."""
    rows: dict[tuple[str, int], list[Permission]] = {}
    for permission in sorted(permissions, key=lambda each: (_object_of(each), each.pk)):
        rows.setdefault((_object_of(permission), permission.content_type_id), []).append(permission)
    body = format_html_join("", "{}", ((_row(noun, mine, given, name),) for (noun, _), mine in rows.items()))
    head = format_html_join("", '<th scope="col">{}</th>', ((verb,) for verb in ("Object", *USUAL, "Others")))
    return format_html(
        '<div class="wide" tabindex="0" role="region" aria-label="Permissions">'
        '<table class="facts permissions"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>',
        head,
        body,
    )


def _row(noun: str, permissions: list[Permission], given: set[str], name: str) -> SafeString:
    usual = {_usual(permission): permission for permission in permissions}
    cells = [_cell(usual.get(verb), given, name, f"{verb} {noun}") for verb in USUAL]
    others = format_html_join(
        "",
        "<label>{} {}</label> ",
        ((_mark(each, given, name), each.name) for each in permissions if not _usual(each)),
    )
    return format_html(
        '<tr><th scope="row">{}</th>{}<td>{}</td></tr>',
        noun,
        format_html_join("", "<td>{}</td>", ((cell,) for cell in cells)),
        others,
    )


def _cell(permission: Permission | None, given: set[str], name: str, label: str) -> SafeString | str:
    return _mark(permission, given, name, label) if permission else ""


def _mark(permission: Permission, given: set[str], name: str, label: str = "") -> SafeString | str:
    has = str(permission.pk) in given
    if not name:
        return "yes" if has else "no"
    said = format_html(' aria-label="{}"', label) if label else ""
    checked = SafeString(" checked") if has else ""
    return format_html('<input type="checkbox" name="{}" value="{}"{}{}>', name, permission.pk, said, checked)


class PermissionTable(forms.CheckboxSelectMultiple):
    """Plain inputs: the theme's checkboxes, of which a role has some two hundred, take the browser seconds to style."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        choices: Any = self.choices  # an iterator over the rows of its queryset
        return table(choices.queryset, {str(key) for key in value or ()}, name)
