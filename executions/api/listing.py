"""Which executions, in which order, from where on: the same for the list and the export."""

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.postgres.search import SearchQuery
from django.db.models import DurationField, ExpressionWrapper, F, Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.http import QueryDict
from rest_framework import serializers

from executions.api import representation
from executions.api.fields import Name, Strict, Text
from executions.api.forms import LABEL, LONGEST_LABEL
from executions.api.problems import Invalid
from executions.models import Execution, Outcome, Status
from executions.models.execution import TERMINAL, search_vector

LARGEST_PAGE = 100
LARGEST_NUMBER = 2**53 - 1
MOST_LABELS = 10
ID_IS_EARLIER = timedelta(minutes=5)
# Sorting by these reads all that the filters leave; by id it reads one page. Unknown comes as if it were 0.
DURATION = ExpressionWrapper(F("ended_at") - F("started_at"), output_field=DurationField())
SORT_KEYS: dict[str, Any] = {
    "queued_at": None,  # ids are in the order of time
    "duration": Coalesce(DURATION, Value(timedelta(0)), output_field=DurationField()),
    "cpu_ms": Coalesce("cpu_ms", Value(0)),
    "peak_memory_bytes": Coalesce("peak_memory_bytes", Value(0)),
}
_LISTED = "|".join(representation.LISTED)
ORDERINGS = [sign + name for name in SORT_KEYS for sign in ("-", "")]


def _number(says: str) -> serializers.IntegerField:
    return serializers.IntegerField(required=False, min_value=0, max_value=LARGEST_NUMBER, help_text=says)


class FilterForm(Strict):
    runtime = serializers.SlugField(required=False, max_length=50, help_text="Slug.")
    status = serializers.ChoiceField(Status.choices, required=False)
    outcome = serializers.ChoiceField(Outcome.choices, required=False)
    label_ = serializers.ListField(
        child=Name(
            rf"^{LABEL.pattern}:[\s\S]*\Z", "Not name:value, like canvas:demo.", max_length=64 + 1 + LONGEST_LABEL
        ),
        required=False,
        max_length=MOST_LABELS,
        help_text="name:value. Repeated: all of them.",
    )
    batch = serializers.UUIDField(required=False)
    queued_after = serializers.DateTimeField(required=False, help_text="Then or later.")
    queued_before = serializers.DateTimeField(required=False, help_text="Earlier than this.")
    min_duration_ms = _number("The program ran at least this long.")
    max_duration_ms = _number("The program ran at most this long.")
    min_memory_bytes = _number("Its peak was at least this.")
    max_memory_bytes = _number("Its peak was at most this.")
    q = Text(
        required=False,
        allow_blank=True,
        max_length=500,
        help_text='Words in code, stdout or stderr of ended executions. "a phrase", -not, or: as in a web search. '
        "The first 20,000 characters of each are searched.",
    )
    fields_ = Name(
        rf"^(?:{_LISTED})(?:,(?:{_LISTED}))*\Z",
        f"Not a list of fields, like id,status. There are: {', '.join(representation.LISTED)}.",
        required=False,
        allow_blank=True,
        max_length=1000,
        help_text="Comma-separated. All but the large ones unless given.",
    )

    def get_fields(self) -> Any:
        fields = super().get_fields()
        # As class attributes they would hide the serializer's own.
        return {name.removesuffix("_"): field for name, field in fields.items()}


class ListForm(FilterForm):
    ordering = serializers.ChoiceField(ORDERINGS, default="-queued_at")
    limit = serializers.IntegerField(default=50, min_value=1, max_value=LARGEST_PAGE, help_text="Of a page.")
    cursor = Text(required=False, max_length=500, help_text="From `next` of the page before.")


def parameters(form: type[FilterForm], query: QueryDict) -> dict[str, Any]:
    """As a form takes them. As they come, REST framework would take an empty one for none."""
    several = {name for name, field in form().fields.items() if isinstance(field, serializers.ListField)}
    return {name: values if name in several else values[-1] for name, values in query.lists()}


def fields_of(form: dict[str, Any]) -> list[str]:
    if not form.get("fields"):
        return list(representation.SMALL)
    return list(dict.fromkeys(form["fields"].split(",")))


def filtered(executions: QuerySet[Execution], form: dict[str, Any]) -> QuerySet[Execution]:
    equal = {"runtime": "runtime__slug", "status": "status", "outcome": "outcome", "batch": "batch_id"}
    equal |= {"queued_after": "queued_at__gte", "queued_before": "queued_at__lt"}
    equal |= {"min_memory_bytes": "peak_memory_bytes__gte", "max_memory_bytes": "peak_memory_bytes__lte"}
    executions = executions.filter(**{lookup: form[name] for name, lookup in equal.items() if name in form})
    executions = executions.filter(*_by_id(form))
    if labels := form.get("label"):
        # The second condition lets Postgres use the index, which knows only rows with labels.
        executions = executions.filter(~Q(labels={}), labels__contains=_labels(labels))
    for name, lookup in (("min_duration_ms", "ran__gte"), ("max_duration_ms", "ran__lte")):
        if name in form:
            ran = timedelta(milliseconds=min(form[name], 10**12))
            executions = executions.annotate(ran=DURATION).filter(**{lookup: ran})
    if form.get("q"):
        query = SearchQuery(form["q"], config="simple", search_type="websearch")
        executions = executions.annotate(words=search_vector()).filter(status__in=TERMINAL, words=query)
    return executions


def _by_id(form: dict[str, Any]) -> Iterator[Q]:
    """The bounds of time once more, for the ids: lists are in their order, and Postgres begins where the time is.
    An id is made shortly before its execution is queued."""
    if "queued_after" in form:
        yield Q(id__gte=_first_id(form["queued_after"] - ID_IS_EARLIER))
    if "queued_before" in form:
        yield Q(id__lt=_first_id(form["queued_before"] + timedelta(milliseconds=1)))


def _first_id(at: datetime) -> UUID:
    """The lowest UUIDv7 of this millisecond."""
    milliseconds = (at - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)
    return UUID(int=min(max(milliseconds, 0), 2**48 - 1) << 80)


def _labels(pairs: list[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for pair in pairs:
        name, _, value = pair.partition(":")
        if labels.setdefault(name, value) != value:
            raise Invalid("label", f"{name!r} cannot have two values.", "Ask for one of them.")
    return labels


@dataclass(frozen=True)
class Order:
    """Of a list: a sort key and then the id, so that no row comes twice or never."""

    ordering: str

    @property
    def _key(self) -> Any:
        return SORT_KEYS[self.ordering.removeprefix("-")]

    @property
    def _sign(self) -> str:
        return "-" if self.ordering.startswith("-") else ""

    def apply(self, executions: QuerySet[Execution], cursor: str | None) -> QuerySet[Execution]:
        if self._key is not None:
            executions = executions.annotate(key=self._key)
        if cursor:
            executions = executions.filter(self._after(cursor))
        names = ("id",) if self._key is None else ("key", "id")
        return executions.order_by(*(self._sign + name for name in names))

    def _after(self, cursor: str) -> Q:
        key, row = self._decoded(cursor)
        beyond = "lt" if self._sign else "gt"
        later = Q(**{f"id__{beyond}": row})
        return later if key is None else Q(**{f"key__{beyond}": key}) | Q(key=key) & later

    def cursor(self, last: Execution) -> str:
        key = getattr(last, "key", None)
        if isinstance(key, timedelta):
            key = key // timedelta(microseconds=1)
        raw = json.dumps([self.ordering, key, str(last.pk)], separators=(",", ":"))
        return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")

    def _decoded(self, cursor: str) -> tuple[Any, UUID]:
        try:
            padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
            ordering, key, row = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
            if ordering != self.ordering or (key is None) != (self._key is None):
                raise ValueError
            if key is not None:
                if type(key) is not int or not 0 <= key <= LARGEST_NUMBER:
                    raise ValueError
                key = timedelta(microseconds=key) if "duration" in ordering else key
            return key, UUID(row)
        except (ValueError, TypeError, AttributeError, binascii.Error, RecursionError) as e:
            raise Invalid("cursor", "Not the cursor of a page in this order.", "Take it from `next`.") from e
