"""The filters of a list: their choices as one form, and chips for those that apply."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django import template
from django.contrib.admin.views.main import SEARCH_VAR
from django.http import HttpRequest

from sandbox_platform.kit.ranges import PAGING

register = template.Library()
LONGEST_VALUE = 80


@dataclass(frozen=True)
class Chip:
    """A filter that applies. `query`: the list's query without it."""

    title: str
    value: str
    query: str


@register.filter
def parameters(choice: dict[str, Any], spec: Any) -> str:
    """Return the filter's own parameters of one of its choices, encoded as a query."""
    expected = set(spec.expected_parameters())
    query = str(choice["query_string"]).removeprefix("?")
    return urlencode([pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] in expected])


@register.inclusion_tag("console/chips.html", takes_context=True)
def active_filters(context: Any, cl: Any) -> dict[str, Any]:
    request = context["request"]
    return {"chips": list(chips(cl, request)), "address": request.path}


def chips(cl: Any, request: HttpRequest) -> Iterator[Chip]:
    def chip(title: str, value: str, *names: str) -> Chip:
        query = request.GET.copy()
        for name in (*names, *PAGING):
            query.pop(name, None)
        return Chip(title[:1].upper() + title[1:], value[:LONGEST_VALUE], query.urlencode())

    if cl.query:
        yield chip("search", cl.query, SEARCH_VAR)
    named = set[str]()
    for spec in cl.filter_specs:
        names = [str(name) for name in spec.expected_parameters() if any(request.GET.getlist(str(name)))]
        if names and (value := _value(spec, cl, request, names)):
            named |= set(names)
            yield chip(str(spec.title), value, *names)
    field = cl.model_admin.date_hierarchy
    if units := [unit for unit in ("year", "month", "day") if field and f"{field}__{unit}" in request.GET]:
        date = "-".join(request.GET[f"{field}__{unit}"].zfill(2) for unit in units)
        named |= {f"{field}__{unit}" for unit in units}
        yield chip("date", date, *(f"{field}__{unit}" for unit in units))
    # Links of other pages filter by more than the drawer offers, and the drawer leaves out what has one choice.
    linked = getattr(cl.model_admin, "linked_lookups", ())
    for name in request.GET:
        if request.GET[name] and name not in named and ("__" in name or name in linked):
            title = name.partition("__")[0].removesuffix("_id").replace("_", " ")
            yield chip(title, request.GET[name], name)


def _value(spec: Any, cl: Any, request: HttpRequest, names: list[str]) -> str:
    """Return the chosen value in words: that of a choice, or what was typed into the filter's form."""
    for choice in spec.choices(cl):
        if "form" in choice:
            return " to ".join(request.GET[name] for name in names)
        if choice.get("selected") and (choice.get("kept") or parameters(choice, spec)):
            return str(choice["display"])
    return ""
