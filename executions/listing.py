"""Filters, orders and cursors of executions, shared by the API's list and export."""

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet, Subquery

from clients.models import Client
from executions.models import Execution
from executions.models.ids import ID_IS_EARLIER, first_id
from executions.models.lookup import SORT_KEYS, ran_for
from executions.searching import START_BLOCKS
from runtimes.models import Runtime
from sandbox_platform.kit.errors import InvalidField

LARGEST_NUMBER = 2**53 - 1
BY_TIME = "queued_at"  # ordered by id, which is ordered by time
ORDERINGS = [sign + name for name in (BY_TIME, *SORT_KEYS) for sign in ("-", "")]


def filtered(executions: QuerySet[Execution], form: dict[str, Any]) -> QuerySet[Execution]:
    equal = {
        "status": "status",
        "outcome": "outcome",
        "batch": "batch_id",
        "request_id": "request_id",
        "failure": "failure__group",
    }
    equal |= {"queued_after": "queued_at__gte", "queued_before": "queued_at__lt"}
    equal |= {"min_memory_bytes": "peak_memory_bytes__gte", "max_memory_bytes": "peak_memory_bytes__lte"}
    executions = executions.filter(**{lookup: form[name] for name, lookup in equal.items() if name in form})
    executions = executions.filter(*_by_id(form), *labelled(form))
    if "client" in form:
        executions = executions.filter(client=Subquery(Client.objects.filter(name=form["client"]).values("pk")))
    if "runtime" in form:
        # A subquery instead of a join: with a single value Postgres can read the runtime's index in the list's order.
        executions = executions.filter(runtime=Subquery(Runtime.objects.filter(slug=form["runtime"]).values("pk")))
    for name, lookup, at_least in (("min_duration_ms", "ran__gte", True), ("max_duration_ms", "ran__lte", False)):
        if name in form:
            ran = timedelta(milliseconds=min(form[name], 10**12))
            executions = executions.annotate(ran=ran_for()).filter(**{lookup: ran})
            if not (at_least and ran):  # a duration of 0 may mean unknown, which matches no bound
                executions = executions.filter(started_at__isnull=False, ended_at__isnull=False)
    return executions


def labelled(form: dict[str, Any]) -> Iterator[Q]:
    if labels := form.get("label"):
        # The first condition lets Postgres use the index, which is partial: it holds only rows with labels.
        yield ~Q(labels={}) & Q(labels__contains=_labels(labels))


def _by_id(form: dict[str, Any]) -> Iterator[Q]:
    """Yield the time bounds as bounds on ids, so that Postgres can start reading the id's index at the right place.

    An id is made shortly before its execution is queued, hence the slack.
    """
    if "queued_after" in form:
        yield Q(id__gte=first_id(form["queued_after"], -ID_IS_EARLIER))
    if "queued_before" in form:
        yield Q(id__lt=first_id(form["queued_before"], timedelta(milliseconds=1)))


def _labels(pairs: list[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for pair in pairs:
        name, _, value = pair.partition(":")
        if labels.setdefault(name, value) != value:
            raise InvalidField("label", f"{name!r} cannot have two values.", "Send one of them.")
    return labels


@dataclass(frozen=True)
class Order:
    """The order of a list: a sort key, then the id, so that paging neither repeats nor skips a row."""

    ordering: str

    @property
    def is_by_time(self) -> bool:
        return self._key is None

    @property
    def is_newest_first(self) -> bool:
        return self.ordering == f"-{BY_TIME}"

    @property
    def _key(self) -> Any:
        return SORT_KEYS.get(self.ordering.removeprefix("-"))

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
        key, row, _ = self._decoded(cursor)
        beyond = "lt" if self._sign else "gt"
        later = Q(**{f"id__{beyond}": row})
        return later if key is None else Q(**{f"key__{beyond}": key}) | Q(key=key) & later

    def position(self, cursor: str) -> tuple[UUID, int]:
        """Return the id after which a page begins, and the search's window in blocks. Only for an order by time."""
        _, row, span = self._decoded(cursor)
        return row, span

    def cursor(self, last: Execution) -> str:
        return self.cursor_at(last.pk, getattr(last, "key", None))

    def cursor_at(self, row: UUID, key: Any = None, span: int = START_BLOCKS) -> str:
        if isinstance(key, timedelta):
            key = key // timedelta(microseconds=1)
        raw = json.dumps([self.ordering, key, str(row), span], separators=(",", ":"))
        return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")

    def _decoded(self, cursor: str) -> tuple[Any, UUID, int]:
        try:
            padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
            ordering, key, row, span = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
            if ordering != self.ordering or (key is None) != (self._key is None):
                raise ValueError
            if key is not None:
                if type(key) is not int or not 0 <= key <= LARGEST_NUMBER:
                    raise ValueError
                key = timedelta(microseconds=key) if "duration" in ordering else key
            if type(span) is not int or not 0 < span <= LARGEST_NUMBER:
                raise ValueError
            return key, UUID(row), span
        except (ValueError, TypeError, AttributeError, binascii.Error, RecursionError) as e:
            raise InvalidField(
                "cursor", "Not the cursor of a page in this order.", "Use the value of `next`."
            ) from e
