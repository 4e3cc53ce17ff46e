"""The sections of a runtime's page: its fieldsets, grouped. Without scripts they are one below the other."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.admin.utils import flatten

# Titles of the fieldsets in each section; None is the first fieldset, which has no title.
SECTIONS: dict[str, tuple[str | None, ...]] = {
    "General": (None, "Image and program", "Record"),
    "Commands": ("Runner and commands",),
    "Limits": ("Time and processor", "Memory, files and processes", "Output"),
    "Warm sandboxes": ("Warm sandboxes",),
    "Security": ("Seccomp filter inside the guest", "Network", "Code policy"),
    "Smoke programs": ("Smoke programs",),
}


@dataclass(frozen=True)
class Tab:
    title: str
    fieldsets: list[Any]
    errors: int

    @property
    def slug(self) -> str:
        return f"section-{self.title.lower().replace(' ', '-')}"


def tabs(adminform: Iterable[Any], errors: Iterable[str]) -> list[Tab]:
    """Return the sections. `errors`: the names of the fields with errors."""
    by_title = {fieldset.name: fieldset for fieldset in adminform}
    wrong = set(errors)
    found = []
    for title, names in SECTIONS.items():
        fieldsets = [by_title[name] for name in names if name in by_title]
        fields = {name for fieldset in fieldsets for name in flatten(fieldset.fields)}
        found.append(Tab(title, fieldsets, len(fields & wrong)))
    return found
