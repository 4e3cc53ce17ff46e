"""Query parameters of the list of executions and of its export."""

from typing import Any

from django.http import QueryDict
from rest_framework import serializers

from executions import representation
from executions.forms import LABEL, LONGEST_LABEL
from executions.listing import LARGEST_NUMBER, ORDERINGS
from executions.models import Outcome, Status
from sandbox_platform.kit import disclosures, request_ids
from sandbox_platform.kit.fields import Name, Strict, Text

LARGEST_PAGE = 100
MOST_LABELS = 10
_LISTED = "|".join(representation.LISTED)


def _number(help_text: str) -> serializers.IntegerField:
    return serializers.IntegerField(required=False, min_value=0, max_value=LARGEST_NUMBER, help_text=help_text)


class FilterForm(Strict):
    client = Text(
        required=False, max_length=100, help_text="Name of a client; for callers who see all executions."
    )
    runtime = serializers.SlugField(required=False, max_length=50, help_text="Slug.")
    status = serializers.ChoiceField(Status.choices, required=False)
    outcome = serializers.ChoiceField(Outcome.choices, required=False)
    label_ = serializers.ListField(
        child=Name(
            rf"^{LABEL.pattern}:[\s\S]*\Z",
            "Not name:value, such as canvas:demo.",
            max_length=64 + 1 + LONGEST_LABEL,
        ),
        required=False,
        max_length=MOST_LABELS,
        help_text="name:value. Repeat the parameter to require several labels.",
    )
    batch = serializers.UUIDField(required=False)
    request_id = Name(
        rf"^{request_ids.PATTERN}\Z",
        "Not an id of a request.",
        required=False,
        max_length=request_ids.LONGEST,
        help_text="X-Request-Id of the request that submitted them.",
    )
    failure = serializers.UUIDField(required=False, help_text="Id of a failure, of which these are the runs.")
    queued_after = serializers.DateTimeField(required=False, help_text="At this time or later.")
    queued_before = serializers.DateTimeField(required=False, help_text="Before this time.")
    min_duration_ms = _number("The program ran at least this long.")
    max_duration_ms = _number("The program ran at most this long.")
    min_memory_bytes = _number("The peak memory was at least this.")
    max_memory_bytes = _number("The peak memory was at most this.")
    q = Text(
        required=False,
        allow_blank=True,
        max_length=500,
        help_text='Search words in code, stdout or stderr of ended executions; "a phrase", `-word` and `or` work as in '
        "a web search. The first 20,000 characters of each text are searched. A page may be short or empty and still "
        "have `next`: the search continues there.",
    )
    fields_ = Name(
        rf"^(?:{_LISTED})(?:,(?:{_LISTED}))*\Z",
        f"Not a list of fields, such as id,status. Fields: {', '.join(representation.LISTED)}.",
        required=False,
        allow_blank=True,
        max_length=1000,
        help_text="Comma-separated fields. Default: all except the large ones.",
    )

    def get_fields(self) -> Any:
        fields = super().get_fields()
        # The underscore keeps `label` and `fields` from hiding the serializer's own attributes.
        return {name.removesuffix("_"): field for name, field in fields.items()}


class ListForm(FilterForm):
    ordering = serializers.ChoiceField(ORDERINGS, default="-queued_at")
    limit = serializers.IntegerField(
        default=50, min_value=1, max_value=LARGEST_PAGE, help_text="Executions per page."
    )
    cursor = Text(required=False, max_length=500, help_text="The cursor in `next` of the previous page.")


def parameters(form: type[FilterForm], query: QueryDict) -> dict[str, Any]:
    """Return the query as a dict for the form: lists for list fields, else the last value.

    From a QueryDict, REST framework would read an empty parameter as a missing one.
    """
    several = {name for name, field in form().fields.items() if isinstance(field, serializers.ListField)}
    return {name: values if name in several else values[-1] for name, values in query.lists()}


def fields_of(form: dict[str, Any], request: Any) -> list[str]:
    """Return the fields that the request asks for, after noting that it may read secrets."""
    if "runtime_environment" in (form.get("fields") or "").split(","):
        disclosures.shown("environments of runtimes, in a list of executions", http=request, often=True)
    if not form.get("fields"):
        return list(representation.SMALL)
    return list(dict.fromkeys(form["fields"].split(",")))
